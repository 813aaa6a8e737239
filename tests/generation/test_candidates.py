from __future__ import annotations

import librosa
import numpy as np
import pytest

from d2m_cli.generation.alignment import Bounds
from d2m_cli.generation.candidates import (
    Likeness,
    best_of,
    mismatch,
    score_take,
    silent_share,
    timeliness,
    wanted_times,
)
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
    rhythm, window = dance(Tempo(120.0, 0.2, 0.9)), Window(0, 0.0, 5.12)
    scores = [score_take(take, RATE, rhythm, window) for take in (off, drifting, on)]
    assert best_of(scores) == 2
    assert scores[2].bend is None
    assert scores[2].total == pytest.approx(np.log(scores[2].strength))


def test_where_takes_are_bent_phase_costs_nothing_and_tempo_does() -> None:
    rhythm, window = dance(Tempo(120.0, 0.2, 0.9)), Window(0, 0.0, 5.12)
    steady, off, drifting, wrong = clicks(0.2, 0.5), clicks(0.45, 0.5), clicks(0.2, 0.52), clicks(0.2, 0.62)
    scores = [score_take(take, RATE, rhythm, window, bounds=Bounds()) for take in (wrong, drifting, off, steady)]
    assert scores[0].bend is None
    # 0.52 s played as 0.5.
    assert scores[1].bend == pytest.approx(0.04, abs=0.005)
    assert scores[2].bend == scores[3].bend == 0.0
    assert [scores[k].missed for k in (2, 3)] == pytest.approx([0.0, 0.0], abs=0.01)
    assert scores[0].total < scores[1].total < scores[2].total
    assert scores[2].total == pytest.approx(scores[3].total, abs=0.2)


def chords(*steps: int) -> np.ndarray:
    """A chord of decaying saws each quarter of a second, in semitones from 110 Hz."""
    clock = np.arange(RATE // 4) / RATE
    parts = []
    for step in steps:
        pitches = 110.0 * 2.0 ** ((step + np.array([0, 4, 7])) / 12)
        tones = sum(np.sin(2 * np.pi * k * f * clock) / k for f in pitches for k in (1, 2, 3, 4))
        parts.append(0.1 * tones * np.exp(-clock / 0.1))
    noise = np.random.default_rng(0).normal(0, 1e-4, len(parts) * len(clock))
    samples: np.ndarray = (np.concatenate(parts) + noise)[None].astype(np.float32)
    return samples


def by_griffin_lim(samples: np.ndarray, seed: int) -> np.ndarray:
    """The same spectrogram with new phases."""
    spectrogram = np.abs(librosa.stft(samples[0], n_fft=1024, hop_length=256))
    made = librosa.griffinlim(spectrogram, n_iter=16, hop_length=256, length=samples.shape[1], random_state=seed)
    return made[None].astype(np.float32)


def test_what_goes_on_from_the_context_scores_above_what_does_not_whatever_its_phases() -> None:
    before, foreign = chords(0, 5, 7, 0), chords(3, 10, 2, 8)
    right, wrong = by_griffin_lim(chords(0, 5, 7, 0, 5, 0), 1), by_griffin_lim(chords(3, 10, 2, 8, 5, 0), 2)
    # Of the waveform next to nothing is left, in either.
    length = before.shape[1]
    for take in (right, wrong):
        assert np.sum((take[:, :length] - before) ** 2) > 0.9 * np.sum(before**2)
    assert mismatch(right, before, RATE) < 1.0
    assert mismatch(wrong, before, RATE) > 3.0
    assert mismatch(foreign, before, RATE) > 3.0
    rhythm, window = dance(None, peaks=()), Window(1, 3.84, 5.12)
    scores = [score_take(take, RATE, rhythm, window, before) for take in (wrong, right)]
    assert best_of(scores) == 1
    seams = [score.seam for score in scores]
    assert seams == [mismatch(take, before, RATE) for take in (wrong, right)]


def test_a_gain_is_no_seam_and_silence_is_far_from_any_context() -> None:
    before = chords(0, 5, 7, 0)
    assert mismatch(before, before, RATE) == 0.0
    assert mismatch(np.float32(-0.1) * before, before, RATE) == pytest.approx(0.0, abs=1e-4)
    assert mismatch(before, np.zeros(before.shape, np.float32), RATE) == 0.0
    assert mismatch(before[:, :100], before[:, :100], RATE) == 0.0
    # Noise lies around 0 dB in all bands, and silence at -40.
    noise = np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32)
    assert mismatch(np.zeros_like(noise), noise, RATE) == pytest.approx(40.0, abs=5.0)


def test_silence_clipping_and_another_beginning_count_against_a_take() -> None:
    rhythm, window = dance(Tempo(120.0, 0.2, 0.9)), Window(0, 0.0, 5.12)
    take = clicks(0.2, 0.5)
    context = take[:, :RATE]
    kept = score_take(take, RATE, rhythm, window, context)
    changed = score_take(take, RATE, rhythm, window, clicks(0.45, 0.5)[:, :RATE])
    assert kept.seam == 0.0
    assert changed.seam is not None
    assert changed.seam > 5.0
    # A twentieth for each decibel.
    assert kept.total - changed.total == pytest.approx(0.05 * changed.seam)
    half = take.copy()
    half[:, : half.shape[1] // 2] = 0.0
    assert silent_share(half, RATE) == pytest.approx(0.5, abs=0.01)
    loud = take.copy()
    loud[:, :1000] = 1.0
    assert score_take(loud, RATE, rhythm, window).clipping == pytest.approx(1000 / take.shape[1])


def test_likeness_to_the_example_and_to_the_prompt_count_where_they_are_scored() -> None:
    rhythm, window = dance(Tempo(120.0, 0.2, 0.9)), Window(0, 0.0, 5.12)
    take = clicks(0.2, 0.5)
    plain = score_take(take, RATE, rhythm, window)
    alike = score_take(take, RATE, rhythm, window, likeness=lambda *_: Likeness(0.4))
    both = score_take(take, RATE, rhythm, window, likeness=lambda *_: Likeness(0.4, -0.1))
    assert (plain.example, plain.prompt, alike.example, alike.prompt) == (None, None, 0.4, None)
    # Two for each.
    assert alike.total - plain.total == pytest.approx(0.8)
    assert both.total - plain.total == pytest.approx(0.6)
    assert (both.settings["example"], both.settings["prompt"]) == (0.4, -0.1)


def test_silence_and_a_dance_without_rhythm_take_the_first() -> None:
    silence = np.zeros((1, 5 * RATE), np.float32)
    assert timeliness(silence, RATE, np.array([1.0])) == 0.0
    still = dance(None, peaks=())
    scores = [score_take(clicks(0.2, period), RATE, still, Window(0, 0.0, 5.12)) for period in (0.5, 0.6)]
    assert best_of(scores) == 0


def test_seeds_of_candidates_differ_and_the_first_is_the_windows() -> None:
    seeds = [candidate_seed(7, "aa", 2, n) for n in range(3)]
    assert seeds[0] == window_seed(7, "aa", 2)
    assert len(set(seeds)) == 3
