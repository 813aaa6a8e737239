"""Which frames the camera is followed through, and what is told of the others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from d2m_cli.pose.camera_thread import CameraPass, CameraThread
from d2m_cli.pose.lookout import Looked
from d2m_cli.pose.movenet import Detections

NOBODY = Detections(np.zeros((0, 4)), np.zeros(0))


def film(shifts: list[float]) -> list[Looked]:
    """A textured wall, each frame moved to the right by so many pixels against the first; every fourth is looked at."""
    rough = np.random.default_rng(0).uniform(30, 220, (60, 80, 3)).astype(np.float32)
    wall = np.clip(cv2.resize(rough, (960, 720), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    frames = []
    for number, shift in enumerate(shifts):
        matrix = np.array([[1.0, 0, -320 + shift], [0, 1, -240]])
        picture = np.asarray(cv2.warpAffine(wall, matrix, (320, 240)), np.uint8)
        frames.append(Looked(number, number / 30, picture, NOBODY if number % 4 == 0 else None))
    return frames


def test_a_camera_at_rest_is_looked_at_seldom() -> None:
    frames = film([0.0] * 30)
    followed = CameraPass(3)
    followed.add_all(frames)
    motion = followed.finish(np.arange(30) / 30, (1.0, 1.0))
    assert motion is not None
    assert motion.transforms.shape == (30, 2, 3)
    np.testing.assert_array_equal(motion.transforms, np.tile(np.eye(2, 3), (30, 1, 1)))
    assert followed._followed == [0, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 29]


def test_a_camera_that_sets_out_is_followed_through_every_frame() -> None:
    """The wall goes right by 3 pixels a frame from frame 13 on: frames are carried back to the left.

    Frame 13 is looked at after frame 10, and its 3 pixels are shared out over the two between.
    """
    shifts = [3.0 * max(0, number - 12) for number in range(30)]
    followed = CameraPass(3)
    followed.add_all(film(shifts))
    motion = followed.finish(np.arange(30) / 30, (1.0, 1.0))
    assert motion is not None
    assert followed._followed == [0, 1, 4, 7, 10, 13, *range(14, 30)]
    expected = -np.array(shifts)
    expected[11:13] = -1.0, -2.0
    np.testing.assert_allclose(motion.transforms[:, 0, 2], expected, atol=0.4)


def test_what_was_not_wanted_is_not_estimated() -> None:
    with CameraThread(wanted=False, fps=30.0) as camera:
        camera.add(film([0.0, 1.0]))
        assert camera.finish(np.arange(2) / 30, (1.0, 1.0)) is None


def test_an_error_of_the_thread_comes_out() -> None:
    broken = [frame._replace(picture=np.zeros((2, 2), np.uint8)) for frame in film([0.0, 0.0])]
    with CameraThread(wanted=True, fps=30.0) as camera:
        camera.add(broken)
        with pytest.raises(cv2.error):
            camera.finish(np.arange(2) / 30, (1.0, 1.0))


def test_calls_are_taken_in_order() -> None:
    shifts = [2.0 * number for number in range(16)]
    frames = film(shifts)
    with CameraThread(wanted=True, fps=30.0) as camera:
        for start in range(0, 16, 4):
            camera.add(frames[start : start + 4])
        motion = camera.finish(np.arange(16) / 30, (2.0, 2.0))
    assert motion is not None
    np.testing.assert_allclose(motion.transforms[:, 0, 2], -2 * np.array(shifts), atol=0.6)
