"""Local maxima of the acceleration within a time window (Sec. 3.2), in the manner of each mode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PUBLISHED_MEAN = 4
PUBLISHED_MAX = 6
PUBLISHED_DELTA = 0.1
PUBLISHED_RATE = 60.0
"""Frames per second of the published code's keypoints, those of AIST++."""
PUBLISHED_CLIP_SECONDS = 5.12
"""Length of the clips that the published code looks at one by one."""


def paper_peaks(
    acceleration: NDArray[np.float64], times: NDArray[np.float64], window_seconds: float
) -> NDArray[np.intp]:
    """Indices whose value is the largest within a window centred on them.

    Parameters
    ----------
    acceleration
        (n,) a(t) of Eq. 7.
    times
        (n,) seconds, rising; they need not be even.
    window_seconds
        Length of the window; the paper does not state it.

    Returns
    -------
    (p,) rising. Of equal values within a window the first counts; zeros never do.
    """
    half = 0.5 * window_seconds + 1e-9
    low = np.searchsorted(times, times - half, side="left")
    high = np.searchsorted(times, times + half, side="right")
    found = [
        i
        for i, value in enumerate(acceleration)
        if value > 0.0 and low[i] + int(np.argmax(acceleration[low[i] : high[i]])) == i
    ]
    return np.array(found, dtype=np.intp)


def published_peaks(envelope: NDArray[np.float64]) -> NDArray[np.intp]:
    """Peak picking of the published code.

    Windows look forward and run into zeros at the tail: the mean is over [i, i+3], the maximum over [i, i+5]. A peak
    equals the maximum and exceeds the mean by a tenth of the mean of the whole envelope; neighbouring peaks collapse
    to the last of them.

    Parameters
    ----------
    envelope
        (n,) of `published_acceleration`.

    Returns
    -------
    (p,) rising indices.
    """
    if len(envelope) == 0:
        return np.zeros(0, dtype=np.intp)
    padded = np.concatenate([envelope, np.zeros(PUBLISHED_MAX - 1)])
    ahead = np.lib.stride_tricks.sliding_window_view(padded, PUBLISHED_MAX)
    mean = ahead[:, :PUBLISHED_MEAN].mean(axis=1)
    chosen = (envelope == ahead.max(axis=1)) & (envelope - mean > PUBLISHED_DELTA * envelope.mean())
    ends = chosen & ~np.append(chosen[1:], False)
    return np.flatnonzero(ends)


def published_peaks_by_clip(envelope: NDArray[np.float64]) -> NDArray[np.intp]:
    """Peaks of a longer envelope at 60 Hz, cut into clips of 5.12 s from its start on as the published data are.

    Parameters
    ----------
    envelope
        (n,) on any scale: thresholds are relative to the clip's own mean and maxima.

    Returns
    -------
    (p,) rising indices.
    """
    starts = np.round(np.arange(0.0, max(len(envelope), 1), PUBLISHED_CLIP_SECONDS * PUBLISHED_RATE)).astype(np.intp)
    clips = np.split(envelope, starts[1:])
    return np.concatenate([start + published_peaks(clip) for start, clip in zip(starts, clips, strict=True)])


@dataclass(frozen=True, repr=False)
class Accents:
    """Maxima of an envelope that may be accents.

    Attributes
    ----------
    times
        (p,) seconds, rising, refined between the steps of the clock by a parabola.
    standing
        (p,) prominence as a share of the strongest accents within some seconds: a dance has loud and quiet passages.
    """

    times: NDArray[np.float64]
    standing: NDArray[np.float64]

    def __repr__(self) -> str:
        return f"Accents(p={len(self.times)})"

    def over(self, share: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Times of those that stand out by at least a share, (p,) or one for all."""
        return self.times[self.standing >= share]


def find_accents(envelope: NDArray[np.float64], rate: float, floor: float, separation: float = 0.2) -> Accents:
    """All maxima of the stable mode's envelope that may be accents.

    Parameters
    ----------
    envelope
        (n,) strength of arrivals on an even clock.
    rate
        Steps per second of that clock.
    floor
        Smallest prominence, in the envelope's unit.
    separation
        Smallest time between two accents in seconds; of two that are closer the higher stays.
    """
    if len(envelope) < 3:
        return Accents(np.zeros(0), np.zeros(0))
    from scipy import signal

    index, found = signal.find_peaks(
        np.concatenate([[0.0], envelope, [0.0]]), prominence=floor, distance=max(1.0, separation * rate)
    )
    index, prominences = index - 1, found["prominences"]
    inner = (index > 0) & (index < len(envelope) - 1)
    index, prominences = index[inner], prominences[inner]
    before, here, after = envelope[index - 1], envelope[index], envelope[index + 1]
    curve = before - 2.0 * here + after
    shift = np.where(curve < 0.0, 0.5 * (before - after) / np.where(curve < 0.0, curve, 1.0), 0.0)
    level = np.maximum(local_level(envelope, rate)[index], floor)
    return Accents((index + np.clip(shift, -0.5, 0.5)) / rate, prominences / level)


def local_level(envelope: NDArray[np.float64], rate: float, seconds: float = 4.0) -> NDArray[np.float64]:
    """How strong accents are around each step: the running maximum, smoothed, (n,)."""
    from scipy import ndimage

    size = max(1, round(seconds * rate))
    level = ndimage.maximum_filter1d(envelope, size, mode="constant")
    return np.asarray(ndimage.uniform_filter1d(level, size, mode="nearest"), dtype=np.float64)
