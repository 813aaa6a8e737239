"""Cut the length of a video into windows that a backbone can fill."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS = (4, 2, 1)
"""Beats that windows are placed by: bars where they fit, else less."""
MORE_WINDOWS = 1.25
"""By so much the number of windows may grow for starts on bars, or on half bars."""
LEAST_HOP = 3
"""A window starts no less than this part of the longest hop behind the one before: else it would be all context."""


@dataclass(frozen=True)
class Window:
    """One window of music.

    Attributes
    ----------
    index
        Its number, from 0.
    start
        In seconds from the start of the video.
    seconds
        Its length; the last window may run past the end of the video.
    """

    index: int
    start: float
    seconds: float

    @property
    def end(self) -> float:
        """In seconds from the start of the video."""
        return self.start + self.seconds


def plan_windows(
    duration: float,
    window_seconds: float = 5.12,
    overlap_seconds: float = 0.64,
    quantum: float = 0.08,
    beats: Array | None = None,
) -> tuple[Window, ...]:
    """Windows that cover a video from 0 to its end.

    Parameters
    ----------
    duration
        Length of the video in seconds.
    window_seconds
        Length of each window.
    overlap_seconds
        How much two neighbours share at least.
    quantum
        Starts are multiples of this: a latent column of the backbone, so that a context fills whole columns.
    beats
        (n,) seconds, rising: a steady map of the whole video, or None.

    Returns
    -------
    At least one window, the first at 0; each overlaps the next by at least `overlap_seconds`. Without beats they are
    evenly spaced, as far apart as that allows. With beats they start on beats, to the nearest quantum: on every fourth
    from the first where each finds one and that takes hardly more windows, else on every second, else on any.
    """
    if not duration > 0.0:
        raise ValueError(f"duration must be above 0 s, not {duration}")
    if not (0.0 <= overlap_seconds < window_seconds and quantum > 0.0):
        raise ValueError(f"an overlap of {overlap_seconds} s does not fit into windows of {window_seconds} s")
    # Tolerances keep a multiple a multiple in floating point.
    hop = math.floor((window_seconds - overlap_seconds) / quantum + 1e-9)
    if hop < 1:
        raise ValueError(f"windows of {window_seconds} s less {overlap_seconds} s are shorter than {quantum} s")
    count = 1 + max(0, math.ceil((duration - window_seconds) / (hop * quantum) - 1e-9))
    columns = [hop * i for i in range(count)]
    if beats is not None and len(beats):
        on_beats = np.round(beats / quantum).astype(int)
        last = (duration - window_seconds) / quantum - 1e-6
        plans = [_on_beats(on_beats[::step], hop, last) for step in STEPS]
        able = [starts for starts, gaps in plans if not gaps and len(starts) <= int(MORE_WINDOWS * count)]
        columns = able[0] if able else plans[-1][0]
    return tuple(Window(i, round(column * quantum, 9), window_seconds) for i, column in enumerate(columns))


def piece_seconds(duration: float, window_seconds: float, longest: float, quantum: float) -> float:
    """Length of the windows of a backbone that writes pieces of any length up to a longest one.

    Parameters
    ----------
    duration
        Length of the music in seconds.
    window_seconds
        What a window lasts at least.
    longest
        What it lasts at most; where the music is no longer, one window is all of it.
    quantum
        A latent frame of the backbone: the length is a whole number of these where `longest` allows.
    """
    whole = math.ceil(duration / quantum - 1e-6) * quantum
    return min(max(whole, window_seconds), longest)


def _on_beats(beats: NDArray[np.intp], hop: int, last: float) -> tuple[list[int], bool]:
    """Starts from 0 until one is at `last` or behind, and whether any lies on no beat.

    Each is on the last beat within a hop of the one before, or a hop away where there is none but one close by.
    """
    starts, gaps = [0], False
    while starts[-1] < last:
        able = beats[(beats > starts[-1] + hop // LEAST_HOP) & (beats <= starts[-1] + hop)]
        gaps |= not len(able)
        starts.append(int(able[-1]) if len(able) else starts[-1] + hop)
    return starts, gaps


def window_seed(seed: int, content: str, index: int) -> int:
    """Seed of one window, a function of (user's seed, content of the video, window) alone.

    The order of videos, what else is in a batch, and what was done before play no part.

    Parameters
    ----------
    seed
        The user's.
    content
        Digest of the video's content, hexadecimal.
    index
        Number of the window.

    Returns
    -------
    0 to 2**63 - 1.
    """
    digest = blake2b(f"{seed}/{content}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def candidate_seed(seed: int, content: str, index: int, candidate: int) -> int:
    """Seed of one take of a window; the first take's is that of `window_seed`."""
    return window_seed(seed, content if candidate == 0 else f"{content}/{candidate}", index)
