from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.generation.bend import TimeMap, attacks, held_share, merged, render, spare

RATE = 24000


def hits(times: np.ndarray, seconds: float, channels: int = 1) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 1e-4, (channels, round(seconds * RATE))).astype(np.float32)
    sound = 0.5 * np.exp(-np.arange(600) / 80) * np.cos(np.arange(600) * 0.5)
    for at in times:
        samples[:, round(at * RATE) : round(at * RATE) + 600] += sound.astype(np.float32)
    return samples


def heard(samples: np.ndarray) -> np.ndarray:
    """Times at which the level passes a fifth of its maximum after a tenth of a second below it."""
    loud = np.flatnonzero(np.abs(samples[0]) > 0.2 * np.abs(samples).max())
    return loud[np.diff(loud, prepend=-RATE) > 0.1 * RATE] / RATE


def test_a_map_goes_both_ways_and_runs_on_at_rate_one() -> None:
    bent = TimeMap(np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.4, 3.4]))
    assert bent.to_target(np.array([0.0, 1.5, 3.0, 5.0])) == pytest.approx([-0.5, 0.95, 2.4, 4.4])
    assert bent.to_source(np.array([-0.5, 0.95, 2.4, 4.4])) == pytest.approx([0.0, 1.5, 3.0, 5.0])
    assert bent.rates == pytest.approx([1 / 0.9, 1.0])
    with pytest.raises(ValueError, match="rise"):
        TimeMap(np.array([0.0, 1.0]), np.array([1.0, 1.0]))


def test_attacks_are_found_within_ten_milliseconds() -> None:
    times = np.arange(0.3, 4.8, 0.41)
    zones = attacks(hits(times, 5.0), RATE)
    assert len(zones) == len(times)
    assert np.all(zones[:, 0] <= times)
    assert np.all(zones[:, 0] >= times - 0.025)
    assert np.all(zones[:, 1] >= times + 0.03)
    assert attacks(np.zeros((1, RATE), np.float32), RATE).shape == (0, 2)


def test_zones_close_together_are_one() -> None:
    zones = np.array([[0.0, 0.1], [0.12, 0.2], [0.5, 0.6]])
    assert merged(zones, 0.05) == pytest.approx(np.array([[0.0, 0.2], [0.5, 0.6]]))
    # Between 0 and 0.4 s the zones take 0.1 + 0.08 s, between 0.4 and 1 s 0.1 s.
    assert held_share(zones, np.array([0.0, 0.4, 1.0])) == pytest.approx([0.45, 1 / 6])
    assert held_share(np.zeros((0, 2)), np.array([0.0, 0.4, 1.0])) == pytest.approx([0.0, 0.0])


def test_what_is_spared_keeps_its_rate_and_the_rest_makes_up_for_it() -> None:
    plain = TimeMap(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.04, 2.0]))
    bent = spare(plain, np.array([[0.9, 1.1], [1.5, 1.6]]))
    assert bent.source == pytest.approx([0.0, 0.9, 1.0, 1.1, 1.5, 1.6, 2.0])
    # 0.94 s for the first 0.9, then 0.1 as they are; 0.96 - 0.1 - 0.1 s for the 0.8 that are free in the second.
    assert np.diff(bent.target) == pytest.approx([0.94, 0.1, 0.1, 0.4 * 0.95, 0.1, 0.4 * 0.95])
    assert bent.to_target(plain.source) == pytest.approx(plain.target)


def test_rate_one_copies_sample_by_sample() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (2, RATE)).astype(np.float32)
    out = render(samples, RATE, TimeMap(np.array([0.25, 0.5]), np.array([0.0, 0.25])), RATE // 2)
    assert np.array_equal(out, samples[:, RATE // 4 : 3 * RATE // 4])


def test_hits_come_where_the_map_says_as_sharp_as_before() -> None:
    times = np.arange(0.25, 7.6, 0.5)
    samples = hits(times, 8.0, channels=2)
    plain = TimeMap(np.array([0.0, 4.0, 8.0]), np.array([0.0, 4.2, 7.9]))
    bent = spare(plain, attacks(samples, RATE))
    out = render(samples, RATE, bent, round(7.9 * RATE))
    assert out.shape == (2, round(7.9 * RATE))
    assert heard(out) == pytest.approx(bent.to_target(times), abs=0.001)
    # A copied attack is the attack: its first 20 ms have the same samples, to a sample's shift.
    for at, was in zip(heard(out), heard(samples), strict=True):
        now, before = (s[0, round(t * RATE) : round(t * RATE) + 480] for s, t in ((out, at), (samples, was)))
        assert now == pytest.approx(before, abs=0.02)


@pytest.mark.parametrize("held", [1 << 24, 1000])
def test_in_place_it_is_the_same(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.ground.strip.HELD", held)
    samples = hits(np.arange(0.25, 7.6, 0.5), 8.0, channels=2)
    bent = spare(TimeMap(np.array([0.0, 4.0, 8.0]), np.array([-0.1, 4.2, 7.9])), attacks(samples, RATE))
    # As long as the music was, shorter, and too long for its memory.
    for length in (8 * RATE, 7 * RATE, 9 * RATE):
        wanted = render(samples, RATE, bent, length)
        memory = samples.copy()
        out = render(memory, RATE, bent, length, in_place=True)
        np.testing.assert_array_equal(out, wanted)
        assert np.shares_memory(out, memory) == (length <= 8 * RATE)


def test_a_steady_tone_keeps_its_pitch_and_level() -> None:
    clock = np.arange(4 * RATE) / RATE
    tone = (0.4 * np.sin(2 * np.pi * 440 * clock)).astype(np.float32)[None]
    out = render(tone, RATE, TimeMap(np.array([0.0, 4.0]), np.array([0.0, 4.24])), round(4.2 * RATE))
    middle = out[0, RATE : 3 * RATE].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * RATE / len(middle) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.03)
