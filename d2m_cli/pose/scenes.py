"""Where each chosen dancer is, frame by frame, and what of the frame the pose network is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.geometry import box_areas, box_overlaps, crop_matrix, letterbox_matrix
from d2m_cli.pose.metrics import keypoint_similarity
from d2m_cli.pose.selection import dense_boxes, dense_joints
from d2m_cli.pose.tracking import Track

PADDING = 1.25
"""Boxes are enlarged by this before they are cut out."""

WHOLE = 0.6
"""A lone dancer whose crop would span this share of the frame's longer side is better seen in the whole frame."""

CROWDED = 0.2
"""Overlap of two dancers' boxes from which the pose network may pick the wrong one of them."""


@dataclass(frozen=True)
class Scene:
    """Where one chosen dancer is, frame by frame, and who else is near.

    `boxes` (T, 4) in frame pixels, NaN where absent; `whole`: the network sees the whole frame; `own` the detector's
    joints (T, 17, 3); `rivals` boxes and joints of the others that were tracked.
    """

    boxes: NDArray[np.float64]
    whole: bool
    own: NDArray[np.float64] | None
    rivals: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    def shows(self, frame: int) -> bool:
        return bool(np.isfinite(self.boxes[frame, 0]))

    def matrix(self, frame: int, crop: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
        return letterbox_matrix(size, crop) if self.whole else crop_matrix(self.boxes[frame], crop, PADDING)

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
    size: tuple[int, int],
    thunder: bool,
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
    size
        (width, height) of the frames.
    thunder
        Whether the pose network finds a lone dancer in a whole frame.
    """
    boxes = [dense_boxes(track, times, step) for track in tracks]
    joints = [dense_joints(track, times) for track in tracks]
    alone = _alone(chosen, tracks)
    scenes = []
    for track in chosen:
        index = next(number for number, other in enumerate(tracks) if other is track)
        rivals = tuple(
            (box, joint)
            for number, (box, joint) in enumerate(zip(boxes, joints, strict=True))
            if number != index and joint is not None
        )
        sides = boxes[index][:, 2:] - boxes[index][:, :2]
        spans = PADDING * float(np.nanmedian(sides.max(axis=1))) >= WHOLE * max(size)
        scenes.append(Scene(boxes[index], thunder and alone and spans, joints[index], rivals))
    return scenes


def _alone(chosen: list[Track], tracks: list[Track]) -> bool:
    """Whether one dancer is all that was seen, but for a stray detection here and there."""
    others = sum(len(track.frames) for track in tracks if all(track is not one for one in chosen))
    return len(chosen) == 1 and others <= 0.1 * len(chosen[0].frames)
