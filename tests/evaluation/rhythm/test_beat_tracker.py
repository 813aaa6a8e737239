"""Beats and tempo of sounds with known ones."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.beat_tracker import autocorrelation_at, peaks, pulse_beats, pulse_tempo
from d2m_cli.evaluation.rhythm.onsets import FRAMES_PER_SECOND, onset_strength, to_mono
from tests.evaluation.sounds import bursts, clicks, metronome, nearest


def strength_of(sound: np.ndarray, rate: int = 44100) -> np.ndarray:
    return onset_strength(to_mono(sound, rate))


@pytest.mark.parametrize("bpm", [70.0, 84.0, 97.0, 110.0, 123.5, 140.0])
@pytest.mark.parametrize("sound", [bursts, clicks])
@pytest.mark.parametrize("seconds", [5.12, 20.0])
def test_a_metronome(bpm: float, sound, seconds: float) -> None:
    beats = metronome(bpm, seconds)
    strength = strength_of(sound(beats, seconds))
    assert pulse_tempo(strength) == pytest.approx(bpm, rel=0.02)
    found = pulse_beats(strength)
    assert mir_eval.beat.f_measure(beats, found[found >= 0]) == 1.0
    assert np.abs(nearest(beats, found)).max() < 0.03
    assert abs(np.median(nearest(beats, found))) < 0.01


@pytest.mark.parametrize("bpm", [80.0, 100.0, 125.0])
def test_half_a_beat_late_is_all_wrong(bpm: float) -> None:
    beats = metronome(bpm, 8.0, first=0.1)
    found = pulse_beats(strength_of(bursts(beats + 30.0 / bpm, 8.0)))
    assert len(found) > 8
    assert mir_eval.beat.f_measure(beats, found) == 0.0


def test_louder_beats_lead_and_off_beats_do_not() -> None:
    beats = metronome(100.0, 10.0, first=0.3)
    sound = bursts(beats, 10.0) + 0.3 * bursts(beats + 0.3, 10.0)
    found = pulse_beats(strength_of(sound))
    assert mir_eval.beat.f_measure(beats, found) > 0.95


def test_a_tempo_that_drifts_is_followed() -> None:
    beats = 0.3 + np.cumsum(60.0 / np.linspace(112.0, 122.0, 36))
    found = pulse_beats(strength_of(bursts(beats, 19.0)))
    assert mir_eval.beat.f_measure(beats, found) > 0.95


def test_beats_are_left_out_and_filled() -> None:
    beats = metronome(120.0, 12.0)
    played = np.delete(beats, [5, 6, 13])
    found = pulse_beats(strength_of(bursts(played, 12.0)))
    assert mir_eval.beat.f_measure(beats, found) == 1.0


def test_a_long_silence_has_no_beats() -> None:
    beats = metronome(120.0, 8.0)
    sound = np.concatenate([bursts(beats, 8.0), np.zeros((1, 20 * 44100), np.float32)], axis=1)
    found = pulse_beats(strength_of(sound))
    assert mir_eval.beat.f_measure(beats, found[found < 8.0]) == 1.0
    assert not ((found > 13.0) & (found < 28.0)).any()  # 8 s and half a window of the fit


@pytest.mark.parametrize("frames", [0, 1, 5, 80])
def test_too_short_for_a_tempo(frames: int) -> None:
    strength = np.random.default_rng(0).random(frames)
    assert pulse_tempo(strength) is None
    assert len(pulse_beats(strength)) == 0


def test_what_never_changes_has_no_tempo() -> None:
    assert pulse_tempo(np.zeros(400)) is None
    assert pulse_tempo(np.full(400, 3.7)) is None
    single = np.zeros(400)
    single[200] = 1.0
    assert pulse_tempo(single) is None
    assert len(pulse_beats(single)) == 0


def test_autocorrelation_of_a_cosine() -> None:
    clock = np.arange(2000) / FRAMES_PER_SECOND
    found = autocorrelation_at(np.cos(2 * np.pi * 2.0 * clock), np.array([0.5, 0.25, 0.125, 1.0]))
    # cos(2 pi f lag) / 2: one period, half a period (held at 0), a quarter, two periods.
    assert found == pytest.approx([0.5, 0.0, 0.0, 0.5], abs=0.02)


def test_peaks_lie_between_frames() -> None:
    frame = np.arange(100)
    curve = np.cos(2 * np.pi * (frame - 3.3) / 20)
    assert peaks(curve) == pytest.approx([3.3, 23.3, 43.3, 63.3, 83.3], abs=0.02)
    curve[:30] *= 0.05
    assert peaks(curve) == pytest.approx([43.3, 63.3, 83.3], abs=0.02)
