"""Where each chosen dancer is, frame by frame, and what of the frame the pose network is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.geometry import box_areas, box_overlaps
from d2m_cli.pose.metrics import keypoint_similarity
from d2m_cli.pose.selection import dense_boxes, dense_joints
from d2m_cli.pose.tracking import Track

PADDING = 1.25
"""Boxes are enlarged by this before they are cut out."""

WIDER = 2.0
"""The same for a second look, where the crop cut the dancer."""

CROWDED = 0.2
"""Overlap of two dancers' boxes from which the pose network may pick the wrong one of them."""


@dataclass(frozen=True)
class Scene:
    """Where one chosen dancer is, frame by frame, and who else is near.

    `boxes` (T, 4) in frame pixels, NaN where absent; `crop` (width, height) of what the network is shown; `own` the
    detector's joints (T, 17, 3); `rivals` boxes and joints of the others that were tracked.
    """

    boxes: NDArray[np.float64]
    crop: tuple[int, int]
    own: NDArray[np.float64] | None
    rivals: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    def shows(self, frame: int) -> bool:
        return bool(np.isfinite(self.boxes[frame, 0]))

    def keep_own(self, joints: NDArray[np.float64]) -> None:
        """Where two dancers overlap and the network took the other one, put the detector's joints back."""
        if self.own is None:
            return
        for boxes, other in self.rivals:
            both = np.isfinite(joints[:, 0, 0]) & np.isfinite(boxes[:, 0]) & np.isfinite(self.boxes[:, 0])
            for frame in np.flatnonzero(both):
                if box_overlaps(self.boxes[frame][None], boxes[frame][None])[0, 0] < CROWDED:
                    continue
                area = box_areas(self.boxes[frame][None])[0]
                mine = keypoint_similarity(joints[frame], self.own[frame], area, self.own[frame, :, 2])
                theirs = keypoint_similarity(joints[frame], other[frame], area, other[frame, :, 2])
                if theirs > mine + 0.1:
                    joints[frame] = self.own[frame]


def find_scenes(
    chosen: list[Track],
    tracks: list[Track],
    times: NDArray[np.float64],
    step: int,
    crop_for: Callable[[NDArray[np.float64]], tuple[int, int]],
) -> list[Scene]:
    """A scene for each dancer chosen.

    Parameters
    ----------
    chosen, tracks
        The dancers, and all that were tracked.
    times
        (T,) seconds of all frames.
    step
        Frames from one detection to the next.
    crop_for
        Tells (width, height) of the pose network's crops for the boxes (n, 4) of a dancer.
    """
    boxes = [dense_boxes(track, times, step) for track in tracks]
    joints = [dense_joints(track, times) for track in tracks]
    scenes = []
    for track in chosen:
        index = next(number for number, other in enumerate(tracks) if other is track)
        rivals = tuple(
            (box, joint)
            for number, (box, joint) in enumerate(zip(boxes, joints, strict=True))
            if number != index and joint is not None
        )
        crop = crop_for(boxes[index][np.isfinite(boxes[index][:, 0])])
        scenes.append(Scene(boxes[index], crop, joints[index], rivals))
    return scenes
