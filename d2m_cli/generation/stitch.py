"""Join windows of music into one piece without a seam that can be heard, and without moving anything in time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.windows import Window

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

FADE_SECONDS = 0.25
"""Longest cross-fade. Two takes that differ sound like an echo of each other for as long as both are heard."""
MAX_GAIN_DB = 3.0
PULL = 0.3
"""How much a decibel off 0 weighs beside one of a step that is left."""
_SILENCE = 1e-5


def stitch(
    audio: Sequence[Samples],
    windows: Sequence[Window],
    rate: int,
    duration: float,
    beats: Array | None = None,
) -> Samples:
    """Join windows into music of the exact length of a video.

    Each sample stays at its time: window starts are rounded to the nearest sample and nothing is shifted or stretched,
    since beats are what the music is made for. Levels of neighbours are brought together by at most +-3 dB a window.
    The cross-fade lies where, within an overlap, the two sides differ least; with beats its middle is on one of them.

    Parameters
    ----------
    audio
        One (channels, n) array a window, as long as the window; a longer or shorter one is an error. They are asked
        for one after the other, several times: of a `d2m_cli.generation.shelf.Shelf` two are in memory at once.
    windows
        From `plan_windows`.
    rate
        Hz.
    duration
        Length of the video in seconds.
    beats
        (n,) seconds, rising: a steady map of the whole video, or None.

    Returns
    -------
    (channels, round(duration * rate)) float32, as loud as the takes are: `d2m_cli.generation.finish` comes next.
    """
    _check(audio, windows, rate)
    starts = [round(window.start * rate) for window in windows]
    length, end = round(duration * rate), starts[-1] + audio[-1].shape[1]
    if end < length:
        raise ValueError(f"windows end at {end / rate:.3f} s, before the video's {duration:.3f} s")
    gains = _level_gains(audio, starts)
    middles = None if beats is None else np.round(beats * rate).astype(int)
    joined = _centred(audio[0]) * gains[0]
    music = np.empty((len(joined), length), np.float32)
    for number, (begin, start) in enumerate(pairwise(starts), 1):
        # What lies before the next window stays as it is.
        music[:, begin:start] = joined[:, : max(min(start, length) - begin, 0)]
        around = None if middles is None else middles - start
        joined = _join(joined[:, start - begin :], _centred(audio[number]) * gains[number], start / rate, rate, around)
    music[:, starts[-1] :] = joined[:, : max(length - starts[-1], 0)]
    return music


def _check(audio: Sequence[Samples], windows: Sequence[Window], rate: int) -> None:
    if not windows or len(audio) != len(windows):
        raise ValueError(f"{len(audio)} pieces of audio do not fit {len(windows)} windows")
    for take, window in zip(audio, windows, strict=True):
        if take.ndim != 2 or take.shape[0] != audio[0].shape[0]:
            raise ValueError(f"window {window.index} must be ({audio[0].shape[0]}, n), not {take.shape}")
        if abs(take.shape[1] - window.seconds * rate) > 1:
            raise ValueError(f"window {window.index} holds {take.shape[1]} samples, not {window.seconds * rate:.0f}")
        if not np.isfinite(take).all():
            raise ValueError(f"window {window.index} holds values that are not finite")


def _centred(take: Samples) -> Array:
    wide = take.astype(np.float64)
    centred: Array = wide - wide.mean(axis=1, keepdims=True)
    return centred


def _level_gains(takes: Sequence[Samples], starts: Sequence[int]) -> Array:
    """A factor for each window that brings neighbours' levels together where they overlap.

    Least squares on the steps in dB, with a weak pull towards 0 dB so that small steps of one sign don't add up to a
    crescendo; the factors are then held within +-3 dB.
    """
    count = len(takes)
    steps = np.zeros(count - 1)
    right = _centred(takes[0])
    for i in range(count - 1):
        left, right = right, _centred(takes[i + 1])
        steps[i] = _step_db(left, right, starts[i + 1] - starts[i])
    factors: Array = 10 ** (np.clip(levelled(steps), -MAX_GAIN_DB, MAX_GAIN_DB) / 20)
    return factors


def levelled(steps: Array) -> Array:
    """(n + 1,) decibels that take away n steps in dB from one window to the next, as far as `PULL` lets them.

    The least squares' normal equations: the three diagonals of them that are not 0 grow with the length of a piece, all
    of the matrix with its square.
    """
    from scipy.linalg import solve_banded

    bands = np.full((3, len(steps) + 1), -1.0)
    bands[1] = PULL**2
    bands[1, 1:] += 1.0
    bands[1, :-1] += 1.0
    found: Array = solve_banded((1, 1), bands, np.diff(steps, prepend=0.0, append=0.0))
    return found


def _step_db(left: Array, right: Array, offset: int) -> float:
    """By how many dB the right window is louder than the left where they overlap; 0 where either is silent."""
    overlap = left.shape[1] - offset
    if overlap <= 0:
        return 0.0
    levels = [float(np.sqrt(np.mean(side**2))) for side in (left[:, offset:], right[:, :overlap])]
    if min(levels) < _SILENCE:
        return 0.0
    return 20 * float(np.log10(levels[1] / levels[0]))


def _join(left: Array, take: Array, start: float, rate: int, middles: NDArray[np.intp] | None = None) -> Array:
    """Go over from the end of some music to a take, which begin together, best around one of some samples of it.

    `start` is the second at which that is, for the message where nothing is left of the music.
    """
    overlap = left.shape[1]
    if overlap <= 0:
        raise ValueError(f"windows leave a gap at {start:.3f} s")
    right = take[:, :overlap]
    length = min(overlap, round(FADE_SECONDS * rate))
    at = _best_place(left, right, length, middles)
    there, here = left[:, at : at + length], right[:, at : at + length]
    fade_out, fade_in = fade_curves(length, correlation(there, here))
    faded = there * fade_out + here * fade_in
    joined: Array = np.concatenate([left[:, :at], faded, take[:, at + length :]], axis=1)
    return joined


def _best_place(left: Array, right: Array, length: int, middles: NDArray[np.intp] | None = None) -> int:
    """Where a cross-fade of some length hides best: where the two sides differ least in energy.

    Of places around `middles` where any of them leaves room for it, else of all.
    """
    difference = ((left - right) ** 2).sum(axis=0)
    sums = np.concatenate([[0.0], np.cumsum(difference)])
    costs = sums[length:] - sums[:-length]
    if middles is not None:
        begins = middles - length // 2
        begins = begins[(begins >= 0) & (begins < len(costs))]
        if len(begins):
            return int(begins[np.argmin(costs[begins])])
    return int(np.argmin(costs))


def correlation(left: Array, right: Array) -> float:
    """Normalised correlation of two pieces at lag 0, held within 0 and 1; 0 where either is silent."""
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    if scale < _SILENCE**2:
        return 0.0
    return float(np.clip((left * right).sum() / scale, 0.0, 1.0))


def fade_curves(length: int, correlated: float) -> tuple[Array, Array]:
    """Two gains that keep the power of a sum constant, for two signals of equal power and given correlation.

    cos and sin do so for unrelated signals. With correlation c the power of the sum is 1 + 2 c cos sin, which is
    divided out; for equal signals (c = 1) the two gains then add up to 1, as linear ones do.
    """
    angle = (np.arange(length) + 0.5) / length * np.pi / 2
    falling, rising = np.cos(angle), np.sin(angle)
    power = np.sqrt(1 + 2 * correlated * falling * rising)
    return falling / power, rising / power
