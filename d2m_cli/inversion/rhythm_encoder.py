"""The encoder of "*": from a binary rhythm sequence to a pseudo-word's vector (Sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RhythmMLP(nn.Module):
    """The paper's MLP projector.

    The paper names "multiple linear layers and activation layers" and no more; ours are four linear layers with SiLU
    between them. Units of the first start as sinusoids of time, of 2 to 26 cycles a window (0.4 to 5 Hz in 5.12 s):
    what a pulse train answers to them is its tempo and phase, which spares the training most of its way.

    Parameters
    ----------
    steps
        Length of the binary sequence.
    width
        Text width of the backbone.
    hidden
        Width of the inner layers.
    """

    def __init__(self, steps: int, width: int, hidden: int = 512) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(steps, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, width),
        )
        with torch.no_grad():
            # Four phases of each frequency, as SiLU passes one side only.
            count = hidden // 4
            angle = 2 * torch.pi * torch.linspace(2, 26, count)[:, None] * torch.arange(steps) / steps
            waves = torch.cat([angle.cos(), angle.sin(), -angle.cos(), -angle.sin()])
            self.layers[0].get_parameter("weight")[: 4 * count] = 0.4 * waves

    def forward(self, sequence: Tensor) -> Tensor:
        """(batch, steps) of zeros and ones -> (batch, width)."""
        out: Tensor = self.layers(sequence.to(torch.float32))
        return out
