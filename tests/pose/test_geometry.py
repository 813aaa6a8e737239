from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.pose.geometry import (
    apply_affine,
    box_overlaps,
    crop_matrix,
    invert_affine,
    keep_best,
    letterbox_matrix,
    warp,
)


def test_overlap_of_two_squares_by_hand() -> None:
    first = np.array([[0.0, 0, 10, 10]])
    second = np.array([[5.0, 5, 15, 15], [20, 20, 30, 30], [0, 0, 10, 10]])
    np.testing.assert_allclose(box_overlaps(first, second), [[25 / 175, 0, 1]])


def test_best_boxes_are_kept_and_their_doubles_dropped() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    assert keep_best(boxes, np.array([0.5, 0.9, 0.3]), 0.6).tolist() == [1, 2]


def test_tall_box_is_widened_to_the_crop_and_padded() -> None:
    # 100 x 400 around (150, 300); aspect 192:256 makes it 300 x 400, padding 375 x 500: 192 / 375 = 0.512.
    matrix = crop_matrix(np.array([100, 100, 200, 500]), (192, 256), 1.25)
    np.testing.assert_allclose(matrix, [[0.512, 0, 96 - 0.512 * 150], [0, 0.512, 128 - 0.512 * 300]])
    np.testing.assert_allclose(apply_affine(matrix, np.array([150.0, 300.0])), [96, 128])


def test_wide_box_is_heightened() -> None:
    # 400 x 100: width rules, 400 * 1.25 = 500; 192 / 500.
    assert crop_matrix(np.array([0, 0, 400, 100]), (192, 256), 1.25)[0, 0] == pytest.approx(192 / 500)


def test_letterbox_maps_edges_to_edges() -> None:
    matrix = letterbox_matrix((640, 360), (256, 256))
    corners = apply_affine(matrix, np.array([[-0.5, -0.5], [639.5, 359.5]]))
    np.testing.assert_allclose(corners, [[-0.5, 55.5], [255.5, 199.5]])


def test_inverse_undoes() -> None:
    matrix = np.array([[0.3, -0.1, 5], [0.1, 0.3, -7]])
    points = np.array([[1.0, 2], [300, -40]])
    np.testing.assert_allclose(apply_affine(invert_affine(matrix), apply_affine(matrix, points)), points)


@pytest.mark.parametrize("scale", [0.9, 0.4, 0.12])
def test_a_disc_lands_where_the_matrix_says(scale: float) -> None:
    y, x = np.mgrid[:400, :600]
    disc = (((x - 250.3) ** 2 + (y - 180.7) ** 2) < 40**2)[..., None] * np.full(3, 255)
    matrix = np.array([[scale, 0, 3.2], [0, scale, 1.7]])
    cut = warp(disc.astype(np.uint8), matrix, (500, 400))[..., 0].astype(float)
    rows, columns = np.mgrid[:400, :500]
    centre = [(cut * columns).sum() / cut.sum(), (cut * rows).sum() / cut.sum()]
    np.testing.assert_allclose(centre, apply_affine(matrix, np.array([250.3, 180.7])), atol=0.08)
