"""Onsets of sounds with known ones, and agreement with what the public code calls."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.onsets import CDCD, LORIS, RATE, onset_strength, pick_onsets, to_mono
from tests.evaluation.sounds import bursts, clicks, metronome, nearest


def loris_onsets(sound: np.ndarray, rate: int) -> np.ndarray:
    return pick_onsets(onset_strength(to_mono(sound, rate)), LORIS)


def cdcd_onsets(sound: np.ndarray, rate: int) -> np.ndarray:
    return pick_onsets(onset_strength(to_mono(sound, rate)), CDCD)


@pytest.mark.parametrize("bpm", [70.0, 97.0, 120.0, 155.0])
@pytest.mark.parametrize("sound", [bursts, clicks])
def test_loris_finds_every_beat(bpm: float, sound) -> None:
    beats = metronome(bpm, 5.12)
    found = loris_onsets(sound(beats, 5.12), 44100)
    assert len(found) == len(beats)
    assert np.abs(found - beats).max() < 0.031  # one frame is 23 ms
    assert 0.005 < np.median(found - beats) < 0.025  # as librosa dates them: late


@pytest.mark.parametrize("bpm", [70.0, 97.0, 120.0, 155.0])
def test_cdcd_finds_nothing_else_and_misses_few(bpm: float) -> None:
    beats = metronome(bpm, 5.12)
    found = cdcd_onsets(bursts(beats, 5.12), 44100)
    assert np.abs(nearest(found, beats)).max() < 0.031
    assert 0.8 * len(beats) <= len(found) <= len(beats)


def test_as_the_public_code_calls_librosa() -> None:
    rng = np.random.default_rng(3)
    sound = (bursts(np.sort(rng.uniform(0, 6, 25)), 6.0, RATE, 0.05) + 0.01 * rng.standard_normal(6 * RATE))[0]
    sound = sound.astype(np.float32)
    # The two calls of LORIS's beats_scores.py and CDCD's inference_aist.py.
    loris = librosa.onset.onset_detect(
        y=sound, sr=22050, wait=1, delta=0.2, pre_avg=3, post_avg=3, pre_max=3, post_max=3, units="time"
    )
    cdcd = librosa.onset.onset_detect(
        y=sound, sr=22050, wait=1, delta=0.2, pre_avg=1, post_avg=1, post_max=1, units="time"
    )
    assert len(loris) > 5
    assert len(cdcd) > 5
    assert not np.array_equal(loris, cdcd)
    np.testing.assert_allclose(loris_onsets(sound, RATE), loris)
    np.testing.assert_allclose(cdcd_onsets(sound, RATE), cdcd)


def test_channels_and_rates_do_not_matter() -> None:
    beats = metronome(110.0, 6.0)
    left, right = bursts(beats[::2], 6.0, 48000), bursts(beats[1::2], 6.0, 48000)
    found = loris_onsets(np.concatenate([left, right]), 48000)
    assert len(found) == len(beats)
    np.testing.assert_array_equal(loris_onsets((left + right)[0] / 2, 48000), found)
    assert np.abs(loris_onsets(bursts(beats, 6.0, 32000), 32000) - found).max() < 0.03


@pytest.mark.parametrize("samples", [0, 1, 100, 2000, 22050])
def test_silence_has_no_onsets(samples: int) -> None:
    dither = np.random.default_rng(0).integers(-1, 2, samples) / 32768
    for sound in (np.zeros((2, samples)), dither[None]):
        assert len(loris_onsets(sound, 22050)) == 0
        assert len(cdcd_onsets(sound, 22050)) == 0
        assert len(onset_strength(to_mono(sound, 44100))) == 0


def test_a_tone_and_a_constant() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
    assert np.all(loris_onsets(tone, RATE) < 0.1)
    assert np.isfinite(loris_onsets(np.full((1, RATE), 0.5), RATE)).all()


@pytest.mark.parametrize("sound", [np.array([[0.0, np.nan]]), np.zeros((1, 2, 3)), np.zeros((0, 5))])
def test_what_is_no_sound_is_refused(sound: np.ndarray) -> None:
    with pytest.raises(ValueError, match="samples must be finite"):
        loris_onsets(sound, RATE)
