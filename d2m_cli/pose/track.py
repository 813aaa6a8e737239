"""Values of the pose room: who moved where, and how the camera moved meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import NoPersonError
from d2m_cli.ground.options import option
from d2m_cli.media.timeline import LONGEST, LONGEST_GAP
from d2m_cli.pose.dancers import only_dancer

COCO_JOINTS: tuple[str, ...] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""The 17 joints of COCO, in their order."""

COCO_BONES: tuple[tuple[int, int], ...] = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Pairs of joints to draw as a skeleton."""

DENSEST = 1000
"""Pictures within any second."""
LARGEST_SIDE = 1 << 16
"""Pixels of a picture's side."""
FARTHEST = 1e6
"""Pixels from the corner of the picture at which a joint may be guessed, and elements of a camera's matrix."""

_ROUNDING = 1e-3
"""Seconds before 0 to which containers round their first time stamp."""


def check_times(times: NDArray[np.float64]) -> None:
    """Raise ValueError unless times can be those of a video's pictures.

    Parameters
    ----------
    times
        (T,) float64 seconds: finite, rising, from 0 to `LONGEST`, without gaps above `LONGEST_GAP` (nor before
        the first), and no more than `DENSEST` within a second.
    """
    if times.ndim != 1 or times.dtype != np.float64 or not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise ValueError("times must be a rising float64 vector of finite seconds")
    if not len(times):
        return
    if times[0] < -_ROUNDING or times[-1] > LONGEST:
        raise ValueError(
            f"times run from {times[0]:g} to {times[-1]:g} s; they must lie between 0 and {LONGEST / 3600:g} h"
        )
    widest = float(np.diff(times, prepend=0.0).max())
    if widest > LONGEST_GAP:
        raise ValueError(f"times leave a gap of {widest:.0f} s; at most {LONGEST_GAP:.0f} s may lie between pictures")
    if len(times) > DENSEST and np.any(times[DENSEST:] - times[:-DENSEST] < 1.0):
        raise ValueError(f"times hold more than {DENSEST} pictures within a second")


def check_duration(seconds: float) -> None:
    """Raise ValueError unless a length in seconds is finite, not negative and at most `LONGEST`."""
    if not 0.0 <= seconds <= LONGEST:
        raise ValueError(f"the duration is {seconds:g} s; it must lie between 0 and {LONGEST / 3600:g} h")


def _bounded(values: NDArray[np.floating]) -> bool:
    """Whether all are numbers of moderate size; NaN is not."""
    return bool(values.min(initial=0.0) >= -FARTHEST and values.max(initial=0.0) <= FARTHEST)


@dataclass(frozen=True, repr=False)
class PoseTrack:
    """One dancer through time.

    Attributes
    ----------
    keypoints
        (T, 17, 3) float32: x and y in pixels of the displayed frame (rotation applied), score 0 to 1; COCO order.
        A joint that was not seen has score 0 (its x and y are then without meaning, but finite).
    times
        (T,) float64: presentation time of each frame in seconds; see `check_times`.
    frame_size
        (width, height) in pixels of the displayed frame.
    person
        Number of the track in its video, 0 for the most prominent dancer.
    model
        Name of the pose network.
    """

    keypoints: NDArray[np.float32]
    times: NDArray[np.float64]
    frame_size: tuple[int, int]
    person: int
    model: str

    def __post_init__(self) -> None:
        t = len(self.times)
        if self.keypoints.shape != (t, 17, 3) or self.keypoints.dtype != np.float32:
            raise ValueError(
                f"keypoints must be float32 ({t}, 17, 3), not {self.keypoints.dtype} {self.keypoints.shape}"
            )
        check_times(self.times)
        if not _bounded(self.keypoints):
            raise ValueError("keypoints hold values that are not finite, or far outside any picture")
        if len(self.frame_size) != 2 or not all(1 <= side <= LARGEST_SIDE for side in self.frame_size):
            raise ValueError(f"the frame size {self.frame_size} is none: two sides from 1 to {LARGEST_SIDE} pixels")
        if self.person < 0:
            raise ValueError(f"persons are numbered from 0, and one is {self.person}")

    def __repr__(self) -> str:
        return (
            f"PoseTrack(person={self.person}, T={len(self.times)}, frame_size={self.frame_size}, model={self.model!r})"
        )


@dataclass(frozen=True, repr=False)
class CameraMotion:
    """How the camera moved, as seen in the background.

    Attributes
    ----------
    transforms
        (T, 2, 3) float64: affine matrix that carries pixel coordinates of frame t into those of frame 0.
    times
        (T,) float64 seconds.
    """

    transforms: NDArray[np.float64]
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.transforms.shape != (len(self.times), 2, 3):
            raise ValueError(f"transforms must be ({len(self.times)}, 2, 3), not {self.transforms.shape}")
        check_times(self.times)
        if not _bounded(self.transforms):
            raise ValueError("the camera's transforms hold values that are not finite, or huge")

    def __repr__(self) -> str:
        return f"CameraMotion(T={len(self.times)})"


@dataclass(frozen=True)
class PoseSource:
    """What made the poses.

    Attributes
    ----------
    model, detector
        Names of the pose network and of the person detector.
    hashes
        (name, SHA-256 of the file) of each network.
    provider
        ONNX Runtime's execution provider that computed.
    decoder
        What decoded the video, with the reason where it was not the first choice.
    settings
        The options that change the result, as (name, value).
    version
        Of d2m.
    """

    model: str
    detector: str
    hashes: tuple[tuple[str, str], ...]
    provider: str
    decoder: str
    settings: tuple[tuple[str, str], ...]
    version: str

    @property
    def description(self) -> str:
        """Which networks ran where, in words."""
        return f"{self.model} with {self.detector} on {self.provider}"


@dataclass(frozen=True)
class Poses:
    """All that ``d2m pose`` found in one video.

    Attributes
    ----------
    tracks
        The dancers, most prominent first; never empty, no person twice.
    camera
        Camera motion, or None where it was not estimated.
    duration
        Length of the video in seconds.
    source
        What made them; None for poses that came from elsewhere.
    """

    tracks: tuple[PoseTrack, ...]
    camera: CameraMotion | None
    duration: float
    source: PoseSource | None = None

    def __post_init__(self) -> None:
        if not self.tracks:
            raise ValueError("poses need at least one dancer")
        persons = [track.person for track in self.tracks]
        if len(set(persons)) < len(persons):
            raise ValueError(f"a person has two tracks: {persons}")
        check_duration(self.duration)
        last = max((float(track.times[-1]) for track in self.tracks if len(track.times)), default=0.0)
        if self.duration - last > LONGEST_GAP:
            raise ValueError(f"the duration is {self.duration:g} s, and the last picture comes at {last:g} s")


def tracks_of(tracks: Sequence[PoseTrack], dancers: str | int) -> tuple[PoseTrack, ...]:
    """The dancers meant by "largest", "all", a number of how many at most, or "only:N"; most prominent first.

    Parameters
    ----------
    tracks
        Most prominent first.
    dancers
        As `d2m_cli.pose.dancers` reads it.

    Raises
    ------
    NoPersonError
        There is no dancer of the number asked for.
    """
    if dancers == "all":
        return tuple(tracks)
    number = only_dancer(dancers)
    if number is None:
        return tuple(tracks[: 1 if dancers == "largest" else int(dancers)])
    found = tuple(track for track in tracks if track.person == number)
    if not found:
        there = ", ".join(str(track.person) for track in tracks)
        raise NoPersonError(
            f"there is no dancer {number}, only {there}; give {option('dancers')} one of these as only:N, or 'all'"
        )
    return found
