"""Tempi whose relation is plain, and mir_eval's continuity on beats that are right in part."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.tempo import LARGEST_ERROR, Continuity, beats_tempo, score_continuity, score_tempo


@pytest.mark.parametrize("bpm", [60.0, 97.3, 180.0])
def test_tempo_of_even_beats(bpm: float) -> None:
    beats = 0.3 + np.arange(20) * 60.0 / bpm
    assert beats_tempo(beats) == pytest.approx(bpm)  # type: ignore[arg-type]
    assert beats_tempo(np.delete(beats, [3, 4, 9, 15])) == pytest.approx(bpm)


def test_tempo_of_unsteady_beats() -> None:
    beats = np.arange(40) * 0.5 + 0.02 * np.random.default_rng(0).standard_normal(40)
    assert beats_tempo(beats) == pytest.approx(120.0, rel=0.005)


def test_two_beats_have_no_tempo() -> None:
    assert beats_tempo(np.array([1.0, 1.5])) is None
    assert beats_tempo(np.array([1.0, 1.5, 2.0])) == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("estimated", "accuracy1", "accuracy2", "error"),
    [
        (100.0, (True, True), (True, True), 0.0),
        (103.0, (True, True), (True, True), 0.03),
        (94.0, (False, True), (False, True), 0.06),
        (109.0, (False, False), (False, False), 0.09),
        (206.0, (False, False), (True, True), 0.03),
        (47.0, (False, False), (False, True), 0.06),
        (300.0, (False, False), (True, True), 0.25),  # triple; modulo octave 300 / 4 = 75
        (34.0, (False, False), (True, True), 0.36),  # a third by 2 %; modulo octave 34 * 4 = 136
        (141.0, (False, False), (False, False), 0.41),
    ],
)
def test_tempo_by_hand(estimated: float, accuracy1: tuple, accuracy2: tuple, error: float) -> None:
    found = score_tempo(100.0, estimated)
    assert found is not None
    assert found.accuracy1 == accuracy1
    assert found.accuracy2 == accuracy2
    assert found.octave_error == pytest.approx(error)


def test_tempo_without_one() -> None:
    assert score_tempo(None, 100.0) is None
    assert score_tempo(None, None) is None
    found = score_tempo(100.0, None)
    assert found is not None
    assert not any(found.accuracy2)
    assert found.octave_error == LARGEST_ERROR
    assert max(score_tempo(100.0, bpm).octave_error for bpm in np.linspace(30, 400, 500)) < LARGEST_ERROR


def test_continuity_by_hand() -> None:
    beats = np.arange(0.5, 20.0, 0.5)
    assert score_continuity(beats, beats, 20.0) == Continuity(1.0, 1.0)
    # Beats before 5 s count: all of the first half is wrong, the rest right. The first right one has a right neighbour.
    half = np.concatenate([np.arange(0.75, 10.0, 0.5), np.arange(10.5, 20.0, 0.5)])
    found = score_continuity(beats, half, 20.0)
    assert found is not None
    assert found.cmlt == pytest.approx(0.5, abs=0.05)
    # Twice as fast: only another level.
    doubled = score_continuity(beats, np.arange(0.5, 20.0, 0.25), 20.0)
    assert doubled is not None
    assert doubled.cmlt < 0.1
    assert doubled.amlt == pytest.approx(1.0, abs=0.03)


def test_continuity_of_little() -> None:
    beats = np.arange(0.5, 9.9, 0.5)
    assert score_continuity(beats, beats, 9.9) is None
    assert score_continuity(beats, beats, 10.0) == Continuity(1.0, 1.0)
    for few in (np.zeros(0), np.array([1.0])):
        assert score_continuity(beats, few, 12.0) == Continuity(0.0, 0.0)
        assert score_continuity(few, beats, 12.0) == Continuity(0.0, 0.0)
