"""Peaks that mode "published" finds in a window of 303 steps when the same dance is seen at other frame rates.

::

    python -m tests.rhythm.measure_published [FOLDER]

Without a folder it takes the true keypoints of the example at 60 fps; a folder holds .npz with ``keypoints``
(cameras, T, 17, 2 or 3) and ``times`` (T,). Frames at other rates than 60 and 30 lie on a cubic through all frames.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from d2m_cli.inversion.published import PUBLISHED_GRID
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.direction import published_acceleration
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.peaks import published_peaks

EXAMPLE = Path(__file__).parents[2] / "examples" / "videos" / "house_120_60fps.keypoints.npz"
RATES = (60.0, 59.94, 50.0, 30.0, 25.0, 24.0)


def dances(folder: Path | None) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Keypoints (T, 17, 2) at 60 fps, and their times."""
    if folder is None:
        points = np.load(EXAMPLE)["tenths"][0] / 10.0
        return [(points, np.arange(len(points)) / 60.0)]
    found = []
    for path in sorted(folder.glob("*.npz")):
        content = np.load(path)
        if abs(float(np.median(np.diff(content["times"]))) - 1 / 60) < 1e-3:
            seen = [view[..., :2].astype(np.float64) for view in content["keypoints"]]
            found += [(view, content["times"]) for view in seen if np.isfinite(view).all()]
    return found


def main() -> None:
    """Print a line for each rate: peaks a window, and those of the published code on the frames as they are."""
    views = dances(Path(sys.argv[1]) if sys.argv[1:] else None)
    for rate in RATES:
        counts, raw = [], []
        for points, times in views:
            at = times[::2] if rate == 30.0 else times if rate == 60.0 else np.arange(0.0, times[-1], 1 / rate)
            seen = points[::2] if rate == 30.0 else points if rate == 60.0 else CubicSpline(times, points)(at)
            keypoints = np.concatenate([seen, np.ones_like(seen[..., :1])], axis=2).astype(np.float32)
            track = PoseTrack(keypoints, np.asarray(at, dtype=np.float64), (1920, 1080), 0, "given")
            rhythm = extract_rhythm(Poses((track,), None, float(times[-1])), RhythmOptions("published"))
            starts = np.arange(0.0, times[-1] - 5.12, 1.0)
            counts += [rhythm.window(float(start), PUBLISHED_GRID).sum() for start in starts]
            first = np.searchsorted(at, starts - 1e-6)
            clips = [keypoints[i : i + round(305 / 60 * rate), :, :2] for i in first]
            raw += [len(published_peaks(published_acceleration(clip))) for clip in clips]
        print(f"{rate:6.2f} fps: {np.mean(counts):5.1f} peaks a window; on the frames as they are {np.mean(raw):5.1f}")


if __name__ == "__main__":
    main()
