"""AIST++: names of its sequences, its official splits, and its 2D keypoints (Li et al. 2021).

A sequence such as "gLO_sBM_cAll_d13_mLO2_ch02" is genre, situation (basic or advanced dance), cameras, dancer, music
and choreography; "c01" to "c09" in place of "cAll" are its videos. Keypoints were found at exactly 60 frames a second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError, NoPersonError
from d2m_cli.inversion.genres import GENRE_CODES
from d2m_cli.pose.track import FARTHEST, Poses, PoseTrack, check_duration, check_times
from d2m_cli.training.clips import Split
from d2m_cli.training.unpickle import Unread, read_pickled_arrays

FRAME_SIZE = (1920, 1080)
"""Width and height in pixels of all AIST videos."""
MODEL = "AIST++ keypoints2d"
SLOWEST, FASTEST = 10.0, 240.0
"""Frame rates that time stamps in microseconds can stand for."""
HELD_OUT = frozenset({"mBR0", "mPO1", "mLO2", "mMH3", "mLH4", "mHO5", "mWA0", "mKR2", "mJS3", "mJB5"})
"""The song of each genre that training does not hear."""

_NAME = re.compile(r"g([A-Z]{2})_(s[A-Z]{2})_c(All|\d{2})((?:_d\d{2})+)_(m[A-Z]{2}\d)_(ch\d{2})")
_SMALL = 1 << 16


@dataclass(frozen=True)
class AistName:
    """The parts of a name of AIST.

    Attributes
    ----------
    genre
        Two-letter code.
    situation
        "sBM" (basic), "sFM" (advanced) and others.
    camera
        "c01" to "c09", or "cAll" for a sequence.
    dancers
        Such as "d13"; several are joined by "_".
    song, choreography
        Such as "mLO2" and "ch02".
    """

    genre: str
    situation: str
    camera: str
    dancers: str
    song: str
    choreography: str

    def seen_by(self, camera: str) -> str:
        """Name of the same dance as another camera saw it, or of the sequence ("cAll")."""
        return f"g{self.genre}_{self.situation}_{camera}_{self.dancers}_{self.song}_{self.choreography}"


def parse_name(name: str) -> AistName | None:
    """The parts of a name without suffix, or None for a name that is not of AIST."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in GENRE_CODES:
        return None
    return AistName(match[1], match[2], f"c{match[3]}", match[4][1:], match[5], match[6])


def official_split(name: AistName) -> Split | None:
    """The split of music and choreography, by the rule that made ``crossmodal_{train,val,test}.txt``.

    Basic dances 02 of the held-out songs are the test set, dances 01 the validation set; training has neither those
    songs nor those choreographies, so many sequences are in no split. Agrees with ``processing/run_splitting.py`` of
    google/aistplusplus_api.
    """
    first_two = name.situation == "sBM" and name.choreography in ("ch01", "ch02")
    if name.song in HELD_OUT:
        if not first_two:
            return None
        return "test" if name.choreography == "ch02" else "validation"
    return None if first_two else "train"


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
        microseconds. It may hold nothing but numbers: see `d2m_cli.training.unpickle`.
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
