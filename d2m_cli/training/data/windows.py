"""What training reads of one split, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.rhythm.sequence import Tempo
from d2m_cli.training.data.clips import Segment


@dataclass(frozen=True, repr=False)
class Windows:
    """Everything that training reads of one split, in memory.

    Attributes
    ----------
    segments
        Where each window comes from.
    sequences
        (n, steps) uint8: binary rhythm of each window.
    genres
        Two-letter code of each, or (n, 512) float32 embeddings of another part of each song; None without "@".
    targets
        (n, ...): what the backbone's loss rebuilds; float16 or integers.
    tempi
        Tempo and first beat of each window's music (None where it has none), or None where nobody asked for them.
    """

    segments: tuple[Segment, ...]
    sequences: Tensor
    genres: tuple[str, ...] | Tensor | None
    targets: Tensor
    tempi: tuple[Tempo | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.segments)

    def __repr__(self) -> str:
        return f"Windows(n={len(self)}, targets={tuple(self.targets.shape[1:])})"

    def batch(
        self, index: NDArray[np.int64], device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Sequence[str] | Tensor | None, Tensor]:
        """Sequences (on the CPU), genres, and targets on a device, of some windows."""
        rows = torch.from_numpy(index)
        targets = self.targets[rows].to(device)
        return self.sequences[rows], self.genres_at(index), targets.float() if targets.is_floating_point() else targets

    def digest(self) -> str:
        """Of what a training reads, and not of where it lies."""
        digest = blake2b(digest_size=16)
        genres = self.genres.numpy().tobytes() if isinstance(self.genres, Tensor) else repr(self.genres).encode()
        names = "\n".join(f"{segment.clip.name} {segment.start:.6f}" for segment in self.segments)
        tempi = repr(self.tempi).encode()
        for part in (self.sequences.numpy().tobytes(), genres, self.targets.numpy().tobytes(), names.encode(), tempi):
            digest.update(part)
        return digest.hexdigest()

    def genres_at(self, index: NDArray[np.int64]) -> Sequence[str] | Tensor | None:
        """The genres of some windows."""
        if isinstance(self.genres, Tensor):
            return self.genres[torch.from_numpy(index)]
        return None if self.genres is None else [self.genres[i] for i in index]
