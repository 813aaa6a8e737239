"""Tempo, beats and confidence from peaks alone, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.rhythm.sequence import Rhythm, Tempo
from d2m_cli.rhythm.tempo import estimate_tempo


def envelope_of(peaks: np.ndarray, seconds: float, heights: np.ndarray | float = 1.0) -> np.ndarray:
    clock = np.arange(round(seconds * 50) + 1) / 50
    bells = (np.exp(-0.5 * ((clock[:, None] - peaks) / 0.03) ** 2) * heights).sum(axis=1)
    return (bells / max(1.0, bells.max(initial=0.0))).astype(np.float32)


def rhythm_of(peaks: np.ndarray, seconds: float, heights: np.ndarray | float = 1.0) -> Rhythm:
    envelope = envelope_of(peaks, seconds, heights)
    return Rhythm(envelope, 50.0, peaks, seconds, estimate_tempo(envelope, 50.0, peaks), "stable")


@pytest.mark.parametrize("bpm", [72.0, 84.0, 96.0, 110.0, 123.5, 140.0, 160.0])
def test_a_metronome(bpm: float) -> None:
    peaks = np.arange(0.4, 15.0, 60.0 / bpm)
    tempo = rhythm_of(peaks, 15.0).tempo
    assert tempo is not None
    assert tempo.bpm == pytest.approx(bpm, rel=1e-3)
    assert tempo.first_beat == pytest.approx(0.4 % (60.0 / bpm), abs=0.005)
    assert tempo.confidence > 0.85


def test_a_long_video_keeps_its_grid() -> None:
    rng = np.random.default_rng(1)
    beats = np.arange(0.2, 300.0, 60.0 / 117.3)
    peaks = np.sort(beats[rng.random(len(beats)) < 0.7])
    peaks = peaks + np.clip(0.015 * rng.standard_normal(len(peaks)), -0.05, 0.05)
    grid = rhythm_of(peaks, 300.0).beats.beats
    nearest = np.abs(grid[:, None] - beats[None]).min(axis=1)
    assert nearest.max() < 0.015


def test_half_time_is_read_at_the_usual_tempo() -> None:
    tempo = rhythm_of(np.arange(0.3, 15.0, 60.0 / 64.0), 15.0).tempo
    assert tempo is not None
    assert tempo.bpm == pytest.approx(128.0, rel=1e-3)


def test_off_beats_do_not_carry_the_phase_away() -> None:
    beats = np.arange(0.25, 15.0, 0.6)
    peaks = np.sort(np.concatenate([beats, beats[::3] + 0.3]))
    tempo = rhythm_of(peaks, 15.0).tempo
    assert tempo is not None
    assert tempo.bpm == pytest.approx(100.0, rel=1e-3)
    assert tempo.first_beat == pytest.approx(0.25, abs=0.005)


def test_louder_peaks_are_the_beats() -> None:
    peaks = np.arange(0.2, 15.0, 0.3)
    heights = np.where(np.arange(len(peaks)) % 2 == 1, 1.0, 0.3)
    tempo = rhythm_of(peaks, 15.0, heights).tempo
    assert tempo is not None
    assert tempo.bpm == pytest.approx(100.0, rel=1e-3)
    assert tempo.first_beat == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_peaks(count: int) -> None:
    rhythm = rhythm_of(np.arange(count) * 0.5 + 0.2, 5.0)
    assert rhythm.tempo is None
    assert len(rhythm.beats.beats) == 0


def test_random_peaks_earn_little_confidence() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(20):
        peaks = np.sort(rng.uniform(0.0, 15.0, 25))
        peaks = peaks[np.concatenate([[True], np.diff(peaks) > 0.15])]
        tempo = rhythm_of(peaks, 15.0).tempo
        found.append(0.0 if tempo is None else tempo.confidence)
    assert np.mean(found) < 0.45
    assert np.max(found) < 0.7


def test_beat_grid_covers_the_duration() -> None:
    rhythm = Rhythm(np.zeros(501, np.float32), 50.0, np.zeros(0), 10.0, Tempo(120.0, 0.2, 1.0), "stable")
    np.testing.assert_allclose(rhythm.beats.beats, 0.2 + 0.5 * np.arange(20))
