"""The encoder of "@": from a genre label to a pseudo-word's vector (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2m_cli.errors import UsageError
from d2m_cli.inversion.genres import GENRE_CODES


class GenreLabel(nn.Module):
    """One-hot label through layers as in the published MusicGen variant: LayerNorm, Linear, SiLU, Linear.

    Parameters
    ----------
    width
        Text width of the backbone.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        count = len(GENRE_CODES)
        self.layers = nn.Sequential(nn.LayerNorm(count), nn.Linear(count, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, one_hot: Tensor) -> Tensor:
        """(batch, 10) one-hot, in the order of sorted codes -> (batch, width)."""
        out: Tensor = self.layers(one_hot.to(torch.float32))
        return out


def one_hot(codes: Sequence[str]) -> Tensor:
    """(len(codes), 10) float32 of two-letter genre codes; UsageError for an unknown one."""
    order = sorted(GENRE_CODES)
    rows = torch.zeros(len(codes), len(order))
    for row, code in enumerate(codes):
        if code not in GENRE_CODES:
            raise UsageError(f"unknown genre code {code!r}; the ten genres are {', '.join(order)}")
        rows[row, order.index(code)] = 1.0
    return rows
