from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from d2m_cli.generation.shelf import Shelf
from d2m_cli.generation.stitch import PULL, correlation, fade_curves, levelled, stitch
from d2m_cli.generation.windows import Window, plan_windows

RATE = 22050


def piece(seconds: float, seed: int = 0, level: float = 0.2) -> np.ndarray:
    """Synthetic music: chords, a bass and drums at 120 bpm; (2, n) float64."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    time = np.arange(n) / RATE
    music = sum(np.sin(2 * np.pi * f * time + rng.uniform(0, 6)) for f in rng.uniform(100, 800, 5)) / 5
    beat = np.exp(-(time % 0.5) * 20)
    music = music + beat * rng.standard_normal(n) * 0.5
    return level * np.stack([music, np.roll(music, 7)])


def cut(music: np.ndarray, windows: tuple[Window, ...]) -> list[np.ndarray]:
    return [music[:, round(w.start * RATE) :][:, : round(w.seconds * RATE)].astype(np.float32) for w in windows]


def levels_db(samples: np.ndarray, frames: int = 1) -> np.ndarray:
    """Level in dB every 50 ms, over a given number of such frames."""
    size = round(0.05 * RATE)
    power = (samples[:, : samples.shape[1] // size * size] ** 2).mean(axis=0).reshape(-1, size).mean(axis=1)
    return 10 * np.log10(np.convolve(power, np.ones(frames) / frames, mode="valid") + 1e-12)


def test_windows_of_one_piece_give_that_piece_back() -> None:
    windows = plan_windows(14.0, 5.12, 0.64)
    music = piece(windows[-1].end)
    joined = stitch(cut(music, windows), windows, RATE, 14.0)
    assert joined.shape == (2, 14 * RATE)
    # Not exactly: each window's mean is taken off, and levels move by what noise of the drums differs.
    inner = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(joined[:, inner], music[:, : 14 * RATE][:, inner], atol=0.003)


@pytest.mark.parametrize("duration", [0.5, 5.12, 7.777, 30.01])
def test_length_is_exact(duration: float) -> None:
    windows = plan_windows(duration, 5.12, 0.64)
    joined = stitch([piece(5.12, seed=w.index).astype(np.float32) for w in windows], windows, RATE, duration)
    assert joined.shape == (2, round(duration * RATE))
    assert joined.dtype == np.float32


def test_no_seam_in_unrelated_takes_of_different_levels() -> None:
    windows = plan_windows(20.0, 5.12, 0.64)
    takes = [piece(5.12, seed=w.index, level=0.2 * 10 ** ((-1) ** w.index * 2 / 20)) for w in windows]
    joined = stitch([take.astype(np.float32) for take in takes], windows, RATE, 20.0)
    steps = np.abs(np.diff(levels_db(joined)))
    inside = np.concatenate([np.abs(np.diff(levels_db(take))) for take in takes])
    seams = [slice(int((window.start - 0.2) / 0.05), int((window.start + 0.9) / 0.05)) for window in windows[1:]]
    for seam in seams:
        assert steps[seam].max() <= np.quantile(inside, 0.99)
        # Over one beat, where drums make no steps, less than anyone can hear.
        assert np.abs(np.diff(levels_db(joined, frames=10)))[seam].max() < 0.5
    # No click: the largest jump from one sample to the next is no larger than inside the takes.
    biggest = max(np.abs(np.diff(take)).max() for take in takes) * 10 ** (3 / 20)
    assert np.abs(np.diff(joined)).max() <= biggest


def test_steps_between_levels_are_taken_out_up_to_three_decibels_a_side() -> None:
    windows = plan_windows(9.6, 5.12, 0.64)
    music = piece(9.6)
    left, right = cut(music, windows)
    joined = stitch([left, right * np.float32(10 ** (-4 / 20))], windows, RATE, 9.6)
    before, after = np.std(joined[:, RATE : 4 * RATE]), np.std(joined[:, 6 * RATE : 9 * RATE])
    original = np.std(music[:, RATE : 4 * RATE]) / np.std(music[:, 6 * RATE : 9 * RATE])
    assert abs(20 * np.log10(before / after / original)) < 0.4


def test_with_beats_the_middle_of_each_join_is_on_one() -> None:
    # Tones of three pitches: the middle of a join is where both are as loud.
    beats = np.arange(0.13, 12.0, 0.6)
    windows = plan_windows(9.0, 5.12, 1.28, beats=beats)
    assert len(windows) == 3
    pitches = [400.0, 1000.0, 1700.0]
    takes = []
    for pitch in pitches:
        time = np.arange(round(5.12 * RATE)) / RATE
        takes.append((0.2 * np.sin(2 * np.pi * pitch * time))[None].astype(np.float32))
    joined = stitch(takes, windows, RATE, 9.0, beats)[0].astype(np.float64)
    for pitch, following, window in zip(pitches, pitches[1:], windows[1:], strict=False):
        end = windows[window.index - 1].end
        around = slice(round(window.start * RATE), round((end + 0.1) * RATE))
        time = np.arange(around.start, around.stop) / RATE
        # Strength of each pitch over 20 ms.
        kernel = np.hanning(round(0.02 * RATE))
        old, new = (
            np.abs(np.convolve(joined[around] * np.exp(-2j * np.pi * p * time), kernel, "same"))
            for p in (pitch, following)
        )
        inner = slice(len(kernel), -len(kernel))
        crossing = time[inner][np.argmin(np.abs(old - new)[inner])]
        assert np.abs(beats - crossing).min() < 0.01


def test_clicks_stay_at_their_times() -> None:
    windows = plan_windows(9.6, 5.12, 0.64)
    music = np.zeros((1, round(9.6 * RATE)))
    times = [0.5, 2.0, 4.6, 4.9, 5.3, 9.0]
    for time in times:
        music[:, round(time * RATE)] = 0.5
    joined = stitch(cut(music, windows), windows, RATE, 9.6)
    np.testing.assert_array_equal(np.flatnonzero(joined[0] > 0.25), [round(time * RATE) for time in times])


def test_silence_stays_silence() -> None:
    windows = plan_windows(9.6)
    joined = stitch([np.zeros((1, round(5.12 * RATE)), np.float32)] * 2, windows, RATE, 9.6)
    assert not joined.any()


def test_fade_curves_by_hand() -> None:
    falling, rising = fade_curves(1000, 1.0)
    np.testing.assert_allclose(falling + rising, 1.0)
    falling, rising = fade_curves(1000, 0.0)
    np.testing.assert_allclose(falling**2 + rising**2, 1.0)
    # With c = 0.5, half way: both are 1 / sqrt(2 (1 + 0.5)).
    falling, rising = fade_curves(1001, 0.5)
    assert falling[500] == pytest.approx(1 / np.sqrt(3))


def test_correlation_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, 5000))
    b = 0.6 * a + 0.8 * b
    assert correlation(a, b) == pytest.approx(np.corrcoef(a[0], b[0])[0, 1], abs=0.02)
    assert correlation(a, -b) == 0.0
    assert correlation(a, 0 * b) == 0.0


@pytest.mark.parametrize("held", [1 << 24, 1000])
def test_windows_on_a_shelf_are_joined_to_the_same(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.generation.shelf.HELD", held)
    windows = plan_windows(21.0, 5.12, 1.28)
    takes = [piece(5.12, seed=window.index).astype(np.float32) for window in windows]
    shelf = Shelf()
    for take in takes:
        shelf.add(take)
    np.testing.assert_array_equal(stitch(shelf, windows, RATE, 21.0), stitch(takes, windows, RATE, 21.0))
    shelf.close()


def test_what_does_not_fit_is_refused() -> None:
    windows = plan_windows(9.6)
    good = np.zeros((1, round(5.12 * RATE)), np.float32)
    with pytest.raises(ValueError, match="1 pieces"):
        stitch([good], windows, RATE, 9.6)
    with pytest.raises(ValueError, match="window 1 holds"):
        stitch([good, good[:, :-100]], windows, RATE, 9.6)
    with pytest.raises(ValueError, match="not finite"):
        stitch([good, good + np.nan], windows, RATE, 9.6)
    with pytest.raises(ValueError, match="before the video"):
        stitch([good, good], windows, RATE, 12.0)


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_levels_are_those_of_least_squares(count: int) -> None:
    steps = np.random.default_rng(0).normal(0.0, 3.0, count)
    rows = np.concatenate([np.diff(np.eye(count + 1), axis=0), PULL * np.eye(count + 1)])
    wanted = np.linalg.lstsq(rows, np.concatenate([-steps, np.zeros(count + 1)]), rcond=None)[0]
    np.testing.assert_allclose(levelled(steps), wanted, rtol=0, atol=1e-12)


def test_levels_of_an_hour_of_windows_take_no_matrix() -> None:
    steps = np.random.default_rng(0).normal(0.0, 3.0, 1000)
    levelled(steps[:2])
    tracemalloc.start()
    levelled(steps)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The matrix of all windows would take 16 MB.
    assert most < 200_000
