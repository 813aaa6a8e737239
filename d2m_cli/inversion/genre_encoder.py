"""Encoders of "@": from a genre label or a sound to a pseudo-word's vectors (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2m_cli.errors import UsageError
from d2m_cli.ground.genres import GENRE_CODES
from d2m_cli.inversion.shape import WordShape

CLAP_WIDTH = 512
"""Length of CLAP's embeddings of sounds."""


class GenreLabel(nn.Module):
    """One-hot label through layers as in the published MusicGen variant: LayerNorm, Linear, SiLU, Linear.

    For one vector of width 768 there are 599,060 parameters.

    Parameters
    ----------
    shape
        Of the pseudo-word.
    """

    def __init__(self, shape: WordShape) -> None:
        super().__init__()
        count = len(GENRE_CODES)
        self.shape = shape
        self.layers = nn.Sequential(
            nn.LayerNorm(count), nn.Linear(count, shape.width), nn.SiLU(), nn.Linear(shape.width, shape.size)
        )

    def forward(self, one_hot: Tensor) -> Tensor:
        """(batch, 10) one-hot, in the order of sorted codes -> (batch, layers, vectors, width)."""
        return self.shape.fold(self.layers(one_hot.to(torch.float32)))


class GenreClap(nn.Module):
    """CLAP embedding of a sound through the same layers (the paper's ablation, Sec. 4.5).

    Parameters
    ----------
    shape
        Of the pseudo-word.
    """

    def __init__(self, shape: WordShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(
            nn.LayerNorm(CLAP_WIDTH), nn.Linear(CLAP_WIDTH, shape.width), nn.SiLU(), nn.Linear(shape.width, shape.size)
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """(batch, 512) as `d2m_cli.inversion.clap.ClapAudio` makes them -> (batch, layers, vectors, width)."""
        return self.shape.fold(self.layers(embedding.to(torch.float32)))


def one_hot(codes: Sequence[str]) -> Tensor:
    """(len(codes), 10) float32 of two-letter genre codes; UsageError for an unknown one."""
    order = sorted(GENRE_CODES)
    rows = torch.zeros(len(codes), len(order))
    for row, code in enumerate(codes):
        if code not in GENRE_CODES:
            raise UsageError(f"unknown genre code {code!r}; the ten genres are {', '.join(order)}")
        rows[row, order.index(code)] = 1.0
    return rows
