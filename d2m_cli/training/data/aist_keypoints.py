"""The 2D keypoints of AIST++ (Li et al. 2021), which were found at exactly 60 frames a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError, NoPersonError
from d2m_cli.ground.unpickle import Unread, read_pickled_arrays
from d2m_cli.pose.track import FARTHEST, Poses, PoseTrack, check_duration, check_times

FRAME_SIZE = (1920, 1080)
"""Width and height in pixels of all AIST videos."""
MODEL = "AIST++ keypoints2d"
SLOWEST, FASTEST = 10.0, 240.0
"""Frame rates that time stamps in microseconds can stand for."""
_SMALL = 1 << 16


@dataclass(frozen=True)
class KeypointsInfo:
    """What a file of keypoints says about itself.

    Attributes
    ----------
    views, frames
        Cameras and frames.
    seconds
        From the first frame to the end of the last.
    """

    views: int
    frames: int
    seconds: float


def probe_keypoints(path: Path, view: int = 0) -> KeypointsInfo:
    """Length of an AIST++ keypoint file; steps over the keypoints themselves.

    Raises
    ------
    InputError
        The file is no such file, or has no such camera.
    """
    arrays = read_pickled_arrays(path, _SMALL)
    if isinstance(arrays.get("timestamps"), Unread):
        arrays = read_pickled_arrays(path)
    shape = _checked_shape(path, arrays.get("keypoints2d"), view)
    times, seconds = _times(path, arrays.get("timestamps"), shape[1])
    return KeypointsInfo(shape[0], len(times), seconds)


def load_keypoints(path: Path, view: int) -> Poses:
    """Keypoints of one camera from an AIST++ ``keypoints2d/*.pkl``.

    Parameters
    ----------
    path
        The file: ``keypoints2d`` (9, N, 17, 3), pixels of 1920 x 1080 and confidence; ``timestamps`` (N,) in
        microseconds. It may hold nothing but numbers: see `d2m_cli.ground.unpickle`.
    view
        Row of the camera: 0 is ``c01``.

    Returns
    -------
    One dancer, from time 0 on. Joints that were not found (NaN) have score 0, and lie between where they were found
    before and after, so that no jump is seen there.

    Raises
    ------
    InputError
        The file is no such file, or has no such camera.
    NoPersonError
        The camera never saw the dancer.
    """
    arrays = read_pickled_arrays(path)
    rows = arrays.get("keypoints2d")
    shape = _checked_shape(path, rows, view)
    times, seconds = _times(path, arrays.get("timestamps"), shape[1])
    assert isinstance(rows, np.ndarray)
    if rows.dtype.kind not in "iuf":
        raise InputError(f"{path}: its keypoints2d are {rows.dtype}, not numbers; download it again")
    keypoints = rows[view].astype(np.float64)
    found = np.isfinite(keypoints).all(axis=2)
    if not found.any():
        raise NoPersonError(f"{path}: camera c{view + 1:02} never saw the dancer; take another one")
    try:
        track = PoseTrack(_filled(keypoints, found, times), times, FRAME_SIZE, 0, MODEL)
        return Poses((track,), None, seconds)
    except ValueError as error:
        raise InputError(f"{path}: holds no keypoints of a dance ({error}); download it again") from error


def _filled(
    keypoints: NDArray[np.float64], found: NDArray[np.bool_], times: NDArray[np.float64]
) -> NDArray[np.float32]:
    filled = np.zeros(keypoints.shape, np.float32)
    for joint in np.flatnonzero(found.any(axis=0)):
        here = found[:, joint]
        for axis in (0, 1):
            # What lies beyond the numbers of float32 would come as infinite.
            positions = np.clip(keypoints[here, joint, axis], -2.0 * FARTHEST, 2.0 * FARTHEST)
            filled[:, joint, axis] = np.interp(times, times[here], positions)
        filled[here, joint, 2] = np.clip(keypoints[here, joint, 2], 0.0, 1.0)
    return filled


def _checked_shape(path: Path, rows: NDArray[Any] | Unread | None, view: int) -> tuple[int, ...]:
    if rows is None:
        raise InputError(f"{path}: holds no 'keypoints2d'; take the files of AIST++'s folder keypoints2d")
    if len(rows.shape) != 4 or rows.shape[2:] != (17, 3) or not rows.shape[1]:
        raise InputError(
            f"{path}: its keypoints2d are of the shape {rows.shape}, not (cameras, frames, 17, 3); take the files of "
            "AIST++'s folder keypoints2d"
        )
    if not 0 <= view < rows.shape[0]:
        raise InputError(f"{path}: holds {rows.shape[0]} cameras, and camera c{view + 1:02} is not among them")
    return rows.shape


def _times(path: Path, stamps: NDArray[Any] | Unread | None, frames: int) -> tuple[NDArray[np.float64], float]:
    """Seconds from the first frame on, and the end of the last frame."""
    if not isinstance(stamps, np.ndarray) or stamps.shape != (frames,) or stamps.dtype.kind not in "iuf":
        shape = "none" if stamps is None else str(stamps.shape)
        raise InputError(f"{path}: its time stamps ({shape}) do not fit {frames} frames; download it again")
    times = (stamps.astype(np.float64) - float(stamps[0])) / 1e6
    step = float(np.median(np.diff(times))) if frames > 1 else 0.0
    try:
        check_times(times)
        check_duration(float(times[-1]) + step)
    except ValueError as error:
        raise InputError(
            f"{path}: its time stamps are not rising microseconds of a video ({error}); download it again"
        ) from error
    if not 1 / FASTEST <= step <= 1 / SLOWEST:
        raise InputError(
            f"{path}: its time stamps are not rising microseconds of a video (they say {1 / step if step else 0:.3g} "
            "pictures a second); download it again"
        )
    return times, float(times[-1]) + step
