"""The shape of a pseudo-word: how many vectors it has, for how many places of the backbone, and how long they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class WordShape:
    """What an encoder makes for one pseudo-word.

    Attributes
    ----------
    width
        Length of a vector: the text width of the backbone.
    vectors
        How many tokens in a row the pseudo-word takes; 1 is the paper's.
    layers
        1, or one set of vectors for every place at which the backbone reads the text (P+, Voynov et al. 2023).
    """

    width: int
    vectors: int = 1
    layers: int = 1

    @property
    def size(self) -> int:
        """How many numbers that is."""
        return self.layers * self.vectors * self.width

    def fold(self, flat: Tensor) -> Tensor:
        """(batch, size) -> (batch, layers, vectors, width)."""
        return flat.reshape(-1, self.layers, self.vectors, self.width)
