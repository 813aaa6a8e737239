"""How good encoders are on windows they were not trained on, measured the same way for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from d2m_cli.backbones.base import number_format
from d2m_cli.inversion.prompt import training_prompt

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone
    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.training.data.windows import Windows

BATCH = 16
"""Windows measured at once; part of the measurement, as noise is drawn by batch."""


@torch.no_grad()
def window_losses(
    encoders: Encoders,
    backbone: Backbone,
    windows: Windows,
    draws: int,
    order: NDArray[np.int64] | None = None,
    precision: str = "fp32",
) -> NDArray[np.float64]:
    """Loss of each window (Eq. 2 or Eq. 3), the mean of a few draws of noise and noise level.

    The draws belong to the windows: every encoder, and every order, meets the same ones.

    Parameters
    ----------
    encoders, backbone
        What is measured.
    windows
        Windows that the encoders were not trained on.
    draws
        How many draws a window is measured at.
    order
        (n,) window whose dance each window is given in place of its own; None for its own.
    precision
        What is computed in, as in training: "fp32", or "bf16" or "fp16" by autocast.

    Returns
    -------
    (n,) losses.
    """
    kind = number_format(encoders.device.type, precision)
    total = np.zeros(len(windows))
    encoders.eval()
    for first in range(0, len(windows), BATCH):
        index = np.arange(first, min(first + BATCH, len(windows)))
        dances = index if order is None else order[index]
        _, genres, targets = windows.batch(index, encoders.device)
        sequences = windows.sequences[torch.from_numpy(dances)].float()
        with torch.autocast(encoders.device.type, kind, enabled=kind != torch.float32):
            words = encoders.pseudo_words(sequences, genres)
            prompt = training_prompt(genre="@" in words)
            condition = backbone.embed([prompt] * len(index), words)
            for draw in range(draws):
                generator = torch.Generator().manual_seed(1_000_003 * draw + first)
                total[index] += backbone.loss(targets, condition, generator).double().cpu().numpy()
    encoders.train()
    return total / draws


def other_songs(windows: Windows) -> NDArray[np.int64] | None:
    """(n,) for each window one of another song, so that its dance is a wrong one; None where there is one song only.

    Every window is used once where the songs' sizes allow it: windows are laid out by song and moved on by the least
    number of places that gives each another song's.
    """
    songs = np.array([segment.clip.song for segment in windows.segments])
    by_song = np.argsort(songs, kind="stable")
    laid = songs[by_song]
    for shift in range(1, len(songs)):
        moved = np.roll(by_song, -shift)
        if np.all(songs[moved] != laid):
            order = np.empty(len(songs), np.int64)
            order[by_song] = moved
            return order
    if len(set(laid)) < 2:
        return None
    # One song has more than half of all windows: take the next window of another song, some of them more than once.
    return np.array([next(j % len(songs) for j in range(i + 1, i + len(songs)) if songs[j % len(songs)] != songs[i])
                     for i in range(len(songs))])  # fmt: skip
