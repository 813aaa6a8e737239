"""Values of the pose room: who moved where, and how the camera moved meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, repr=False)
class PoseTrack:
    """One dancer through time.

    Attributes
    ----------
    keypoints
        (T, 17, 3) float32: x and y in pixels of the displayed frame (rotation applied), score 0 to 1; COCO order.
        A joint that was not seen has score 0 (its x and y are then without meaning, but finite).
    times
        (T,) float64: presentation time of each frame in seconds, rising.
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
        if self.times.ndim != 1 or self.times.dtype != np.float64 or np.any(np.diff(self.times) <= 0):
            raise ValueError("times must be a rising float64 vector")
        if not np.isfinite(self.keypoints).all():
            raise ValueError("keypoints hold values that are not finite")

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


@dataclass(frozen=True)
class Poses:
    """All that ``d2m pose`` found in one video.

    Attributes
    ----------
    tracks
        The dancers, most prominent first; never empty.
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
