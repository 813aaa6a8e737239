from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.generation.candidates import choose_take, timeliness, wanted_times
from d2m_cli.generation.windows import Window, candidate_seed, window_seed
from d2m_cli.rhythm.sequence import Rhythm, Tempo

RATE = 24000


def dance(tempo: Tempo | None, peaks: tuple[float, ...] = (0.5, 4.2)) -> Rhythm:
    return Rhythm(np.zeros(500, np.float32), 50.0, np.array(peaks), 10.0, tempo, "stable")


def clicks(first: float, period: float) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 1e-3, (1, round(5.12 * RATE))).astype(np.float32)
    for at in np.arange(first, 5.0, period):
        samples[0, round(at * RATE) : round(at * RATE) + 600] += 0.5
    return samples


def test_beats_are_asked_for_from_the_windows_start() -> None:
    rhythm = dance(Tempo(120.0, 0.2, 0.9))
    assert wanted_times(rhythm, Window(0, 0.0, 5.12)) == pytest.approx(np.arange(0.2, 5.12, 0.5))
    # 3.84 s in, the beats at 4.2, 4.7 ... are 0.36, 0.86 ... away.
    assert wanted_times(rhythm, Window(1, 3.84, 5.12))[:2] == pytest.approx([0.36, 0.86])


def test_without_a_trusted_tempo_the_peaks_are_asked_for() -> None:
    for tempo in (None, Tempo(120.0, 0.2, 0.1)):
        assert wanted_times(dance(tempo), Window(1, 3.84, 5.12)) == pytest.approx([0.36])


def test_clicks_on_the_beat_beat_those_off_it_and_those_that_drift() -> None:
    times = np.arange(0.2, 5.0, 0.5)
    on, off, drifting = clicks(0.2, 0.5), clicks(0.45, 0.5), clicks(0.2, 0.52)
    assert timeliness(on, RATE, times) > timeliness(drifting, RATE, times) > timeliness(off, RATE, times)
    assert choose_take([off, drifting, on], RATE, dance(Tempo(120.0, 0.2, 0.9)), Window(0, 0.0, 5.12)) == 2


def test_silence_and_a_dance_without_rhythm_take_the_first() -> None:
    silence = np.zeros((1, 5 * RATE), np.float32)
    assert timeliness(silence, RATE, np.array([1.0])) == 0.0
    still = dance(None, peaks=())
    assert choose_take([silence, clicks(0.2, 0.5)], RATE, still, Window(0, 0.0, 5.12)) == 0


def test_seeds_of_candidates_differ_and_the_first_is_the_windows() -> None:
    seeds = [candidate_seed(7, "aa", 2, n) for n in range(3)]
    assert seeds[0] == window_seed(7, "aa", 2)
    assert len(set(seeds)) == 3
