"""What several recipes do: learning rates by the clock, running means of weights, files that appear whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from d2m_cli.ground.files import atomic_path


def learning_rate(peak: float, step: int, part: float, warm: int, floor: float = 0.02) -> float:
    """A linear rise over ``warm`` steps, times half a cosine from 1 to ``floor`` as ``part`` goes from 0 to 1."""
    return float(peak * min(1, (step + 1) / warm) * (floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * min(1, part)))))


class Ema:
    """Running mean of a module's weights; ``decay`` is reached after the first few hundred steps."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def update(self, module: torch.nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            self.shadow[name].lerp_(value, 1 - decay)


def save_state(path: Path, payload: dict) -> None:
    with atomic_path(path) as part:
        torch.save(payload, part)


def save_array(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as part:
        np.save(part, array)
