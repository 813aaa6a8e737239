"""First vectors for the pseudo-words: plain words that say the same.

Textual inversion begins with the embedding of an "initializer" word. Encoders begin likewise, one window at a time:
"*" with the embedding of the tempo and first beat that a beat tracker hears in the window's music, "@" with the genre's
name. That takes no pass through the backbone, and leaves Eq. 2 or Eq. 3 to find what words can't say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m_cli.ground.genres import GENRE_CODES
from d2m_cli.ground.progress import Advance, Progress
from d2m_cli.rhythm.sequence import Tempo
from d2m_cli.training.loop.schedule import Chance, perturbed

if TYPE_CHECKING:
    from d2m_cli.backbones.base import Backbone
    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.training.data.windows import Windows
    from d2m_cli.training.options import TrainOptions

BATCH = 64
RATE, GENRE_RATE = 1.5e-3, 6e-3
SHIFT = 0.5
"""Seconds by which windows are moved at most, so that every window teaches many first beats."""
_WARM_UP = 100


def warm_start(
    encoders: Encoders, backbone: Backbone, windows: Windows, options: TrainOptions, progress: Progress
) -> tuple[float, float]:
    """Bring the encoders' vectors near those of plain words.

    Parameters
    ----------
    encoders
        Changed in place.
    backbone
        Gives the words' vectors.
    windows
        Windows to learn on; their `tempi` must be there.
    options
        `warm_updates`, `drop_peaks`, `jitter` and `seed` are used.
    progress
        Told how it goes.

    Returns
    -------
    Share of the variance of the words' vectors that "*" and "@" explain in the end, over the last tenth of the updates;
    NaN for one that has nothing to learn from.
    """
    heard = [(i, tempo) for i, tempo in enumerate(windows.tempi or ()) if tempo is not None]
    named = [(i, s.clip.genre) for i, s in enumerate(windows.segments) if s.clip.genre is not None]
    rhythm = genre = math.nan
    parts = int(bool(heard)) + int(bool(named and windows.genres is not None))
    with progress.stage("first vectors from words", options.warm_updates * parts) as advance:
        if heard:
            rhythm = _regress(
                encoders.rhythm_network, _rhythms(encoders, backbone, windows, options), RATE, options, advance
            )
        if named and windows.genres is not None and encoders.genre_network is not None:
            genre = _regress(encoders.genre_network, _genres(encoders, backbone, windows), GENRE_RATE, options, advance)
    return rhythm, genre


Draw = Callable[[Chance], tuple[Tensor, Tensor]]
"""Vectors (n, layers, vectors, width) of a few windows, and the (n, width) words' vectors that they should be."""


def _rhythms(encoders: Encoders, backbone: Backbone, windows: Windows, options: TrainOptions) -> Draw:
    """Windows moved by up to `SHIFT` in time: their peaks and their music's first beat move alike."""
    heard = [(i, tempo) for i, tempo in enumerate(windows.tempi or ()) if tempo is not None]
    index = np.array([i for i, _ in heard])
    rate, reach = encoders.grid.rate, round(SHIFT * encoders.grid.rate)

    @cache
    def spoken(bpm: int, hundredth: int) -> Tensor:
        return backbone.tempo_vector(Tempo(float(bpm), hundredth / 100, 1.0))

    def draw(chance: Chance) -> tuple[Tensor, Tensor]:
        rows = chance.numpy.integers(0, len(heard), BATCH)
        steps = chance.numpy.integers(-reach, reach + 1, BATCH)
        moved = shifted(windows.sequences[torch.from_numpy(index[rows])], steps)
        tempi = [heard[row][1].seen_from(-step / rate) for row, step in zip(rows, steps, strict=True)]
        wanted = torch.stack([spoken(round(tempo.bpm), round(100 * tempo.first_beat)) for tempo in tempi])
        return encoders.rhythm(perturbed(moved, chance, options.drop_peaks, options.jitter, rate)), wanted

    return draw


def _genres(encoders: Encoders, backbone: Backbone, windows: Windows) -> Draw:
    vectors = {code: backbone.words_vector(name) for code, name in GENRE_CODES.items()}
    named = [(i, s.clip.genre) for i, s in enumerate(windows.segments) if s.clip.genre is not None]
    index = np.array([i for i, _ in named])

    def draw(chance: Chance) -> tuple[Tensor, Tensor]:
        rows = chance.numpy.integers(0, len(named), BATCH)
        genres = windows.genres_at(index[rows])
        assert genres is not None
        return encoders.genre(genres), torch.stack([vectors[named[row][1]] for row in rows])

    return draw


def shifted(sequences: Tensor, steps: NDArray[np.int64]) -> Tensor:
    """(n, length) rows moved right by (n,) steps (left where negative); what comes in from outside is zero."""
    length = sequences.shape[1]
    source = torch.arange(length)[None] - torch.from_numpy(steps)[:, None]
    inside = (source >= 0) & (source < length)
    return sequences.gather(1, source.clamp(0, length - 1)) * inside.to(sequences.dtype)


def _regress(network: torch.nn.Module, draw: Draw, peak: float, options: TrainOptions, advance: Advance) -> float:
    """Least squares on the first vector of every layer; the share of variance explained over the last tenth."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    updates = options.warm_updates
    lost, spread = [], []
    for update in range(updates):
        rate = peak * min(1.0, (update + 1) / _WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * update / updates))
        for group in optimizer.param_groups:
            group["lr"] = rate
        # Their own stretch of the random numbers, apart from those of the updates that follow.
        made, wanted = draw(Chance(options.seed, update, part=1_000_000))
        wanted = wanted.to(made)
        loss = ((made[:, :, 0] - wanted[:, None]) ** 2).sum(-1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if update >= updates - max(1, updates // 10):
            lost.append(loss.item())
            spread.append(wanted.var(0).sum().item())
        advance(1)
    return 1.0 - float(np.mean(lost)) / float(np.mean(spread)) if np.mean(spread) > 0 else math.nan
