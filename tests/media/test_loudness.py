"""Loudness and true peak against the figures of the standards, and the gain that follows from them by hand."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.media.loudness import bring_to, integrated_loudness, true_peak

RATE = 48000


def tone(level: float, seconds: float, pitch: float, channels: int) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.tile(10 ** (level / 20) * np.sin(2 * np.pi * pitch * times), (channels, 1)).astype(np.float32)


def test_loudness_is_that_of_the_standards() -> None:
    # BS.1770: 997 Hz at full scale in one channel is -3.01. EBU Tech 3341, cases 1 and 3 (shorter): -23.0 both, and
    # 0.1 LU is what a meter may be off.
    assert integrated_loudness(tone(0.0, 5.0, 997.0, 1), RATE) == pytest.approx(-3.01, abs=0.1)
    assert integrated_loudness(tone(-23.0, 5.0, 1000.0, 2), RATE) == pytest.approx(-23.0, abs=0.1)
    parts = [tone(level, seconds, 1000.0, 2) for level, seconds in ((-36.0, 1.0), (-23.0, 30.0), (-36.0, 1.0))]
    assert integrated_loudness(np.concatenate(parts, axis=1), RATE) == pytest.approx(-23.0, abs=0.1)
    times = np.arange(3 * 32000) / 32000
    other_rate = 0.1 * np.sin(2 * np.pi * 997 * times).astype(np.float32)[None]
    assert integrated_loudness(other_rate, 32000) == pytest.approx(-23.01, abs=0.1)
    assert integrated_loudness(np.zeros((2, RATE), np.float32), RATE) is None
    assert integrated_loudness(tone(0.0, 0.39, 997.0, 1), RATE) is None
    assert integrated_loudness(tone(0.0, 0.40, 997.0, 1), RATE) is not None


def test_a_peak_between_samples_is_found() -> None:
    # A sine of a quarter of the rate that is sampled at 45, 135, ... degrees: every sample is 1 / sqrt(2) of the peak.
    n = np.arange(4000)
    wave = np.sin(np.pi / 2 * n + np.pi / 4) * np.hanning(4000)
    assert np.abs(wave).max() == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert true_peak(wave[None].astype(np.float32)) == pytest.approx(1.0, abs=0.01)
    click = np.zeros((2, 100), np.float32)
    click[1, 50] = -0.7
    assert true_peak(click) == pytest.approx(0.7, abs=1e-3)
    assert true_peak(np.zeros((1, 100), np.float32)) == 0.0


def test_steady_sound_is_brought_to_the_loudness_asked_for() -> None:
    # -30 dBFS in both channels has -30 LUFS: 16 dB are wanting, and the peak of -14 dBTP is far from the ceiling.
    louder, level = bring_to(tone(-30.0, 4.0, 1000.0, 2), RATE, -14.0)
    assert level.decided_by == "loudness"
    assert level.gain == pytest.approx(16.0, abs=0.1)
    assert level.loudness == pytest.approx(-14.0, abs=1e-3)
    assert level.true_peak == pytest.approx(-14.0, abs=0.15)
    assert integrated_loudness(louder, RATE) == pytest.approx(-14.0, abs=1e-3)
    quieter, level = bring_to(louder, RATE, -40.0)
    assert level.gain == pytest.approx(-26.0, abs=1e-3)
    assert integrated_loudness(quieter, RATE) == pytest.approx(-40.0, abs=1e-3)


def test_the_peak_decides_where_loudness_would_pass_it() -> None:
    # A quiet tone under a click of 0.5 (-6.02 dBFS): only 5.01 dB are allowed, of about 36 wanted.
    sound = tone(-50.0, 4.0, 1000.0, 2)
    sound[:, RATE] = 0.5
    louder, level = bring_to(sound, RATE, -14.0)
    assert level.decided_by == "peak"
    assert level.gain == pytest.approx(20 * np.log10(2) - 1.01, abs=0.02)
    assert level.true_peak == pytest.approx(-1.01, abs=1e-3)
    # Nothing but a gain: no sample was held down.
    np.testing.assert_allclose(louder, sound * 10 ** (level.gain / 20), rtol=1e-4)
    # Rounded to 16 bits it still keeps below.
    assert true_peak((np.rint(louder * 32768) / 32768).astype(np.float32)) < 10 ** (-1 / 20)


def test_under_four_tenths_of_a_second_the_peak_alone_counts() -> None:
    _, level = bring_to(tone(-30.0, 0.39, 1000.0, 1), RATE, -14.0)
    assert (level.decided_by, level.loudness) == ("peak", None)
    assert level.true_peak == pytest.approx(-1.01, abs=1e-3)
    _, level = bring_to(tone(-30.0, 0.41, 1000.0, 2), RATE, -14.0)
    assert level.decided_by == "loudness"


def test_silence_and_noise_below_the_gate_are_left_alone() -> None:
    silence = np.zeros((2, RATE), np.float32)
    samples, level = bring_to(silence, RATE, -14.0)
    assert samples is silence
    assert (level.decided_by, level.true_peak, level.gain) == (None, None, 0.0)
    noise = np.random.default_rng(0).normal(0, 1e-5, (1, RATE)).astype(np.float32)
    # So is a tenth of a second of it, whose peak of about -87 dBFS lies below the gate too.
    for part in (noise, noise[:, : RATE // 10]):
        samples, level = bring_to(part, RATE, -14.0)
        assert samples is part
        assert (level.decided_by, level.gain) == (None, 0.0)
