"""Skeletons drawn into pictures."""

from __future__ import annotations

import numpy as np

from d2m_cli.pose.overlay import draw
from d2m_cli.pose.track import Poses, PoseTrack


def test_a_picture_shows_the_pose_that_is_nearest_in_time() -> None:
    """Every second picture of 60 a second has a pose: one in the left half, then one in the right half."""
    keypoints = np.ones((2, 17, 3), np.float32)
    keypoints[0, :, :2], keypoints[1, :, :2] = [20, 30], [80, 30]
    poses = Poses((PoseTrack(keypoints, np.array([0.0, 1 / 30]), (100, 60), 0, "made"),), None, 0.05)
    picture, scale = np.zeros((60, 100, 3), np.uint8), np.ones(2)
    sides = [draw(picture, poses, time, scale).any(axis=(0, 2)) for time in (0.0, 0.016, 0.018, 1 / 30, 0.05)]
    assert [bool(side[:50].any()) for side in sides] == [True, True, False, False, False]
    assert [bool(side[50:].any()) for side in sides] == [False, False, True, True, True]
    assert not draw(picture, poses, 0.2, scale).any()
