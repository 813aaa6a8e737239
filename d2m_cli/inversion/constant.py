"""A pseudo-word that is learned and does not listen: textual inversion as in Gal et al. 2022."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from d2m_cli.inversion.shape import WordShape


class Constant(nn.Module):
    """The same vectors whatever the dance.

    Parameters
    ----------
    shape
        Of the pseudo-word.
    """

    def __init__(self, shape: WordShape) -> None:
        super().__init__()
        # About the size of CLIP's own token embeddings.
        self.vectors = nn.Parameter(0.02 * torch.randn(shape.layers, shape.vectors, shape.width))

    def forward(self, count: int) -> Tensor:
        """``count`` times the same: (count, layers, vectors, width)."""
        return self.vectors.expand(count, -1, -1, -1)
