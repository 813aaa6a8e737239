"""Eq. 4-7 against arrays worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from d2m_cli.rhythm.direction import paper_acceleration, published_acceleration


def joints(*paths: Sequence[tuple[float, float]]) -> np.ndarray:
    """(T, J, 2) of paths given joint by joint."""
    return np.array(paths, dtype=np.float32).transpose(1, 0, 2)


def test_paper_counts_what_grows_within_a_sector() -> None:
    # Steps (1, 0), (3, 0), (2, 0): all in sector 0; differences +2 and -1, of which the positive part stays.
    path = [(0, 0), (1, 0), (4, 0), (6, 0)]
    np.testing.assert_allclose(paper_acceleration(joints(path), sectors=10), [2.0, 0.0])


def test_paper_a_turn_gives_the_new_direction_its_whole_speed() -> None:
    # Steps (1, 0), then (0, 2): the first falls to 0 in its sector, the second rises by 2 in another.
    path = [(0, 0), (1, 0), (1, 2)]
    np.testing.assert_allclose(paper_acceleration(joints(path), sectors=4), [2.0])
    # With a single sector directions are not told apart: 2 - 1.
    np.testing.assert_allclose(paper_acceleration(joints(path), sectors=1), [1.0])


def test_paper_sums_over_joints_after_the_difference() -> None:
    # One joint speeds up by 2, the other slows down by 2 in the same direction: the loss does not cancel the gain.
    fast = [(0, 0), (1, 0), (4, 0)]
    slow = [(0, 9), (3, 9), (4, 9)]
    np.testing.assert_allclose(paper_acceleration(joints(fast, slow)), [2.0])


def test_paper_sector_borders_and_the_full_circle() -> None:
    # Angles 0, 90, 180, 270 degrees start the sectors 0, 1, 2, 3 of four; each new step of length 5 counts 5.
    path = [(0, 0), (5, 0), (5, 5), (0, 5), (0, 0)]
    np.testing.assert_allclose(paper_acceleration(joints(path), sectors=4), [5.0, 5.0, 5.0])


def test_paper_an_angle_a_hair_under_zero_is_in_the_last_sector() -> None:
    points = np.array([[[0.0, 0.0]], [[1.0, 0.0]], [[2.0, -1e-18]]])
    np.testing.assert_allclose(paper_acceleration(points, sectors=10), [1.0])


def test_published_opposite_directions_share_a_bin() -> None:
    # Modulo 180 the way back (180 degrees) falls into bin 0 as the way out does: steps 1, 3, 3 give +2 and 0.
    path = [(0, 0), (1, 0), (-2, 0), (1, 0)]
    np.testing.assert_allclose(published_acceleration(joints(path)), [1.0, 0.0])


def test_published_sums_over_joints_before_the_difference() -> None:
    # The gain of one joint and the loss of the other cancel in the bin they share; the second step gains 4 in all.
    fast = [(0, 0), (1, 0), (4, 0), (9, 0)]
    slow = [(0, 9), (3, 9), (4, 9), (7, 9)]
    np.testing.assert_allclose(published_acceleration(joints(fast, slow)), [0.0, 1.0])


def test_published_deals_single_degrees_over_ten_bins() -> None:
    # Steps: 5.7 degrees of length a, 15.9 of length b (15 % 10: the same bin 5), 16.7 of length c (bin 6).
    a, b, c = np.hypot(10.0, 1.0), np.hypot(20.0, 5.7), np.hypot(20.0, 6.0)
    path = np.array([(0.0, 0.0), (10.0, 1.0), (30.0, 6.7), (50.0, 12.7)])[:, None]
    np.testing.assert_allclose(published_acceleration(path), np.array([b - a, c]) / max(b - a, c))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_frames_give_nothing(count: int) -> None:
    points = np.zeros((count, 17, 2), dtype=np.float32)
    assert len(paper_acceleration(points)) == 0
    assert len(published_acceleration(points)) == 0


def test_length_is_two_less_and_stillness_is_zero() -> None:
    points = np.ones((305, 17, 2), dtype=np.float32)
    for result in (paper_acceleration(points), published_acceleration(points)):
        assert result.shape == (303,)
        assert not result.any()
