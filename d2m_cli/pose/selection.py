"""From tracks of single detections to the dancers that are kept, and a box for each of their frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from d2m_cli.pose.tracking import Track

BRIDGED = 1.5
"""Seconds without a detection over which a dancer's box is interpolated and the pose network still asked."""

LEAST_SCORE = 0.2
"""Mean detection score of a track below which it is taken for a thing, not a person."""

LEAST_SHARE = 0.05
"""With all dancers: prominence, against the first one's, below which somebody is in the background."""

CENTRE_SMOOTHING = 0.08
"""Spread in seconds of the Gaussian over box centres: the crop should glide, as its jumps shift the joints."""

SIZE_SMOOTHING = 0.3
"""The same for box sizes, after the largest within this time is taken."""


def choose(tracks: list[Track], dancers: str | int, duration: float) -> list[Track]:
    """The dancers asked for, most prominent first.

    Parameters
    ----------
    tracks
        Most prominent first.
    dancers
        "largest", "all" or the largest number.
    duration
        Length of the video in seconds.
    """
    real = [track for track in tracks if np.mean(track.scores) >= LEAST_SCORE]
    if dancers == "all":
        shortest = min(1.0, 0.2 * duration)
        most = real[0].prominence() if real else 0.0
        return [
            track
            for track in real
            if track.prominence() >= LEAST_SHARE * most
            and (track.times[-1] - track.times[0] >= shortest or track is real[0])
        ]
    return real[: 1 if dancers == "largest" else int(dancers)]


def dense_boxes(track: Track, times: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Box (T, 4) of a dancer in every frame, gliding; NaN where they are not in the picture.

    Parameters
    ----------
    times
        (T,) seconds of all frames.
    step
        Frames from one detection to the next: a track reaches that far beyond its ends.
    """
    seen = np.array(track.frames)
    boxes = np.stack(track.boxes)
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    dense = np.full((len(times), 4), np.nan)
    for first, last in _runs(track):
        low = max(0, int(seen[first]) - step + 1)
        high = min(len(times), int(seen[last]) + step)
        inner = slice(first, last + 1)
        here = _interpolated(times[low:high], times[seen[inner]], np.concatenate([middle[inner], sides[inner]], axis=1))
        rate = (high - low - 1) / max(float(times[high - 1] - times[low]), 1e-6)
        centres = gaussian_filter1d(here[:, :2], max(CENTRE_SMOOTHING * rate, 1e-3), axis=0, mode="nearest")
        widest = maximum_filter1d(here[:, 2:], 1 + 2 * round(SIZE_SMOOTHING * rate / 2), axis=0, mode="nearest")
        lengths = gaussian_filter1d(widest, max(SIZE_SMOOTHING * rate, 1e-3), axis=0, mode="nearest")
        dense[low:high] = np.concatenate([centres - lengths / 2, centres + lengths / 2], axis=1)
    return dense


def dense_joints(track: Track, times: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The detector's own joints (T, 17, 3) in every frame, interpolated; None from a detector of boxes."""
    if not track.keypoints:
        return None
    seen = np.array(track.frames)
    flat = _interpolated(times, times[seen], np.stack(track.keypoints).reshape(len(seen), -1))
    return flat.reshape(len(times), 17, 3)


def fill_gaps(keypoints: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Joints (T, 17, 3) with absent frames interpolated and their scores set to 0."""
    filled = keypoints.copy()
    frames = np.arange(len(present))
    if present.any():
        flat = keypoints.reshape(len(present), -1)
        filled = _interpolated(frames, frames[present], flat[present]).reshape(keypoints.shape)
    filled[~present, :, 2] = 0
    return filled.astype(np.float32)


def _runs(track: Track) -> list[tuple[int, int]]:
    """First and last index of each stretch of detections without a gap too long to bridge."""
    breaks = np.flatnonzero(np.diff(track.times) > BRIDGED)
    starts = [0, *(int(index) + 1 for index in breaks)]
    ends = [*(int(index) for index in breaks), len(track.times) - 1]
    return list(zip(starts, ends, strict=True))


def _interpolated(at: NDArray[Any], known: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.interp(at, known, column) for column in values.T], axis=1)
