from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.scores import beat_alignment
from d2m_cli.generation.snap import distance
from d2m_cli.ground.nearest import nearest
from d2m_cli.report.page.drawing import tie
from d2m_cli.rhythm.extract import beats_and_halves


def test_the_nearest_of_a_few_times() -> None:
    among = np.array([1.0, 2.0, 4.0])
    # 1.5 and 3 lie in the middle: the earlier one.
    times = np.array([9.0, 0.0, 1.0, 1.5, 1.6, 3.0, 3.01, 4.0, -5.0])
    np.testing.assert_array_equal(nearest(times, among), [2, 0, 0, 0, 1, 1, 2, 2, 0])
    np.testing.assert_array_equal(nearest(times, among[:1]), np.zeros(9))
    assert nearest(np.zeros(0), among).shape == (0,)


def test_it_is_what_a_table_of_all_pairs_gives() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 50, 700):
        # Rounded, so that many lie in the middle of two.
        among = np.unique(np.round(rng.uniform(0.0, 60.0, count), 1))
        times = np.round(rng.uniform(-5.0, 65.0, 900), 2)
        np.testing.assert_array_equal(nearest(times, among), np.abs(times[:, None] - among[None]).argmin(axis=1))


def test_an_hour_of_beats_takes_no_table_of_pairs() -> None:
    beats = np.arange(0.0, 3600.0, 0.5)
    tracemalloc.start()
    nearest(beats + 0.1, beats)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 7,200 beats take 58 kB; a table of all pairs 415 MB.
    assert most < 1_000_000


def test_what_is_made_of_an_hour_of_beats_takes_no_table_of_pairs() -> None:
    beats = np.arange(0.0, 3600.0, 0.5)
    heard = np.delete(beats, np.arange(0, 7200, 3)) + 0.02
    tracemalloc.start()
    # By hand: each that is heard lies 0.02 s behind a beat; two thirds of all are, and none is near a half.
    assert distance(heard, beats, 3600.0) == pytest.approx(0.02)
    assert len(tie(beats, heard)) == 4800
    assert len(beats_and_halves(beats, heard)) == 7200
    assert beat_alignment(heard, beats) == pytest.approx(np.exp(-0.5 * 0.4**2))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000
