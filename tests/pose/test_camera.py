"""A known camera over a known scene: what comes out must be the matrices that were put in."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from d2m_cli.pose.camera import CameraEstimator
from d2m_cli.pose.geometry import apply_affine, invert_affine

WIDTH, HEIGHT = 320, 240
IDENTITY = np.eye(2, 3)


def scene(seed: int = 0) -> np.ndarray:
    """A large textured picture to film."""
    rough = np.random.default_rng(seed).uniform(30, 220, (60, 80, 3)).astype(np.float32)
    return np.clip(cv2.resize(rough, (960, 720), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def view(picture: np.ndarray, to_first: np.ndarray) -> np.ndarray:
    """What the camera sees when frame pixels carried by `to_first` are those of the first frame."""
    to_scene = np.column_stack([to_first[:, :2], to_first[:, 2] + [320, 240]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, to_scene, (WIDTH, HEIGHT), flags=flags))


def dancer(frame: np.ndarray, x: int, y: int) -> np.ndarray:
    """Put a moving, textured person in; returns their box."""
    frame[y : y + 100, x : x + 50] = np.random.default_rng(9).integers(0, 255, (100, 50, 3), dtype=np.uint8)
    return np.array([[x, y, x + 50, y + 100]], float)


def similarity(angle: float, zoom: float, x: float, y: float) -> np.ndarray:
    """Turn in degrees and zoom about the middle of the frame, then a shift in pixels."""
    matrix: Any = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, zoom)
    matrix[:, 2] += [x, y]
    return np.asarray(matrix)


def run(matrices: list[np.ndarray], noise: float = 0.0, masked: bool = True) -> np.ndarray | None:
    picture, camera, rng = scene(), CameraEstimator(), np.random.default_rng(1)
    for index, matrix in enumerate(matrices):
        frame = view(picture, matrix)
        box = dancer(frame, 60 + 3 * index % 200, 70 + 10 * (index % 3))
        frame = np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
        camera.add(frame, box if masked else np.zeros((0, 4)))
    motion = camera.finish(np.arange(len(matrices)) / 30, (1.0, 1.0))
    return None if motion is None else motion.transforms


def worst_error(found: np.ndarray, matrices: list[np.ndarray]) -> float:
    """Largest distance in pixels between where both put the frame's corners."""
    corners = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT]], float)
    gaps = [apply_affine(a, corners) - apply_affine(b, corners) for a, b in zip(found, matrices, strict=True)]
    return float(np.linalg.norm(gaps, axis=2).max())


def test_a_camera_at_rest_is_exactly_at_rest() -> None:
    found = run([IDENTITY] * 60, noise=4.0)
    assert found is not None
    np.testing.assert_array_equal(found, np.tile(IDENTITY, (60, 1, 1)))


def test_shift_turn_and_zoom_are_found() -> None:
    shares = [np.sin(index / 12) for index in range(40)]
    matrices = [similarity(3 * s, 1 + 0.05 * s, 14 * s, -9 * s) for s in shares]
    found = run(matrices, noise=2.0)
    assert found is not None
    assert worst_error(found, matrices) < 0.5


def test_a_long_pan_gathers_no_drift() -> None:
    """Across the scene and back again, over several key frames: the end is where the beginning was."""
    out = [similarity(0, 1, 2.5 * index, 1.0 * index) for index in range(90)]
    found = run(out + out[::-1], noise=2.0)
    assert found is not None
    assert worst_error(found[-1:], [IDENTITY]) < 1.0
    assert worst_error(found, out + out[::-1]) < 1.0


def test_a_dancer_without_a_box_does_not_move_the_camera() -> None:
    found = run([IDENTITY] * 30, masked=False)
    assert found is not None
    np.testing.assert_array_equal(found, np.tile(IDENTITY, (30, 1, 1)))


def test_an_even_wall_says_nothing() -> None:
    camera = CameraEstimator()
    for index in range(10):
        frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        camera.add(frame, dancer(frame, 60 + index, 70))
    assert camera.finish(np.arange(10) / 30, (1.0, 1.0)) is None


def test_one_frame() -> None:
    camera = CameraEstimator()
    camera.add(view(scene(), IDENTITY), np.zeros((0, 4)))
    motion = camera.finish(np.zeros(1), (2.0, 2.0))
    assert motion is not None
    np.testing.assert_array_equal(motion.transforms, IDENTITY[None])


def test_motion_is_told_in_displayed_pixels() -> None:
    """A shift by 10 pixels of frames at half size is one by 20 of the displayed picture."""
    camera, picture = CameraEstimator(), scene()
    for shift in (0.0, 10.0):
        camera.add(view(picture, similarity(0, 1, shift, 0)), np.zeros((0, 4)))
    motion = camera.finish(np.array([0, 0.1]), (2.0, 2.0))
    assert motion is not None
    np.testing.assert_allclose(motion.transforms[1, :, 2], [20, 0], atol=0.3)


def test_times_must_fit() -> None:
    with pytest.raises(ValueError, match="times"):
        CameraEstimator().finish(np.zeros(3), (1.0, 1.0))


def test_helper_inverts_what_it_shows() -> None:
    """The direction of the matrices: a point of frame t, carried over, is the same thing in frame 0."""
    matrix = similarity(5, 1.1, 12, -7)
    first, later = view(scene(), IDENTITY), view(scene(), matrix)
    x, y = np.round(apply_affine(invert_affine(matrix), np.array([150.0, 110.0]))).astype(int)
    assert np.abs(later[y, x].astype(int) - first[110, 150]).max() < 25
