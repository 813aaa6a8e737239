"""What belongs to one update of a training: its learning rate, its windows, and its random numbers.

All follow from the seed and the number of the update alone, so a training that goes on after an interruption needs
nothing but that number to take up the same course.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.training.options import TrainOptions


def updates_per_epoch(windows: int, options: TrainOptions, processes: int = 1) -> int:
    """Whole updates that the windows are enough for, at least one."""
    return max(1, windows // (options.batch_size * options.accumulate * processes))


def learning_rate(update: int, updates: int, options: TrainOptions) -> float:
    """Of an update counted from 0: linear warm-up, then constant or the falling half of a cosine."""
    peak = options.learning_rate
    if update < options.warmup:
        return peak * (update + 1) / options.warmup
    if options.schedule == "constant":
        return peak
    share = (update - options.warmup) / max(1, updates - options.warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def windows_of(update: int, windows: int, options: TrainOptions, processes: int = 1) -> NDArray[np.int64]:
    """(processes, accumulate, batch_size) indices; every epoch goes through all windows in an order of its own."""
    each = updates_per_epoch(windows, options, processes)
    epoch, place = divmod(update, each)
    order = np.random.default_rng([options.seed, 1, epoch]).permutation(windows)
    wanted = options.batch_size * options.accumulate * processes
    # Fewer windows than one update takes: they come again.
    laid = np.resize(order, max(windows, wanted))
    chosen = laid[place * wanted : (place + 1) * wanted]
    return chosen.reshape(processes, options.accumulate, options.batch_size)


class Chance:
    """The random numbers of one step: update, part of an accumulated update, process.

    Attributes
    ----------
    noise
        For the backbone's loss, on the CPU.
    numpy
        For everything else.
    """

    def __init__(self, seed: int, update: int, part: int = 0, process: int = 0) -> None:
        state = np.random.SeedSequence([seed, 2, update, part, process]).generate_state(3, np.uint32)
        self.noise = torch.Generator().manual_seed(int(state[0]))
        self.numpy = np.random.default_rng(int(state[1]))
        # Dropout inside an encoder draws from torch's own generator.
        torch.manual_seed(int(state[2]))


def perturbed(sequences: Tensor, chance: Chance, drop: float, jitter: float, rate: float) -> Tensor:
    """Rhythms with some peaks left out and the others moved a little.

    Parameters
    ----------
    sequences
        (n, steps) of zeros and ones.
    chance
        Random numbers of this step.
    drop
        Share of the peaks to leave out.
    jitter
        Standard deviation of the moves in seconds.
    rate
        Steps per second.

    Returns
    -------
    (n, steps) float32 of zeros and ones.
    """
    if drop == 0.0 and jitter == 0.0:
        return sequences.float()
    rows, steps = np.nonzero(sequences.numpy())
    kept = chance.numpy.random(len(rows)) >= drop
    moved = steps + np.rint(chance.numpy.normal(0.0, jitter * rate, len(steps))).astype(np.int64)
    inside = kept & (moved >= 0) & (moved < sequences.shape[1])
    out = torch.zeros(sequences.shape, dtype=torch.float32)
    out[torch.from_numpy(rows[inside]), torch.from_numpy(moved[inside])] = 1.0
    return out
