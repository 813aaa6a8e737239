"""The encoder of "*": from a binary rhythm sequence to a pseudo-word's vector (Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RhythmMLP(nn.Module):
    """The paper's MLP projector.

    The paper names "multiple linear layers and activation layers" and no more; ours are three linear layers with SiLU
    between them.

    Parameters
    ----------
    steps
        Length of the binary sequence.
    width
        Text width of the backbone.
    hidden
        Width of the inner layers.
    """

    def __init__(self, steps: int, width: int, hidden: int = 768) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(steps, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, steps) of zeros and ones -> (batch, width)."""
        out: Tensor = self.layers(sequence.to(torch.float32))
        return out
