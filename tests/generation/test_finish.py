from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.generation.finish import breaks_in, envelope, fade_start, finish, gain_of, last_hit, pauses
from d2m_cli.media.loudness import integrated_loudness, true_peak

RATE = 8000
NONE = np.zeros(0)


def noise(seconds: float, level: float = 0.05) -> np.ndarray:
    return (level * np.random.default_rng(0).standard_normal((2, round(seconds * RATE)))).astype(np.float32)


def test_a_piece_is_as_loud_as_asked_and_keeps_its_length() -> None:
    music, level = finish(noise(5.0), RATE, NONE, "none", -20.0)
    assert music.shape == (2, 5 * RATE)
    assert music.dtype == np.float32
    assert integrated_loudness(music, RATE) == pytest.approx(-20.0, abs=0.01)
    assert level.decided_by == "loudness"
    assert true_peak(music) == pytest.approx(10 ** (level.true_peak / 20), rel=1e-3)


def test_constant_offset_is_taken_out_and_ends_are_ramps() -> None:
    music, _ = finish(noise(5.0) + np.float32(0.2), RATE, NONE, "none", -14.0)
    assert abs(music.mean()) < 1e-3
    assert np.abs(music[:, [0, -1]]).max() < 1e-3
    gain = gain_of(envelope(5 * RATE, RATE, NONE, "none"), 0, 5 * RATE)
    # 10 ms are 80 samples; half way the ramp is sin(45 degrees) squared.
    assert gain[40] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(gain[80:-80], 1.0)
    np.testing.assert_allclose(gain, gain[::-1])


def test_a_fade_begins_on_the_last_beat_that_leaves_it_a_second() -> None:
    beats = np.arange(0.3, 10.0, 0.5)
    assert fade_start(10.0, beats) == pytest.approx(8.8)
    assert fade_start(10.0, NONE) == 9.0
    assert fade_start(10.0, np.array([2.0, 9.9])) == 9.0
    # Short music fades over a quarter of its length.
    assert fade_start(2.0, NONE) == 1.5
    gain = gain_of(envelope(10 * RATE, RATE, beats, "fade"), 0, 10 * RATE)
    np.testing.assert_array_equal(gain[80 : round(8.8 * RATE)], 1.0)
    # Half of the way from 8.8 to 10 s the power is halved.
    assert gain[round(9.4 * RATE)] == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert np.all(np.diff(gain[round(8.8 * RATE) :]) <= 0)


def test_a_last_hit_rings_out_before_the_next_beat() -> None:
    beats = np.arange(0.3, 10.0, 0.5)
    # 9.8 leaves no time to ring, 9.3 does; it is dead 10 ms before 9.8.
    assert last_hit(10.0, beats) == pytest.approx(9.3)
    gain = gain_of(envelope(10 * RATE, RATE, beats, "hit"), 0, 10 * RATE)
    np.testing.assert_array_equal(gain[80 : round(9.3 * RATE)], 1.0)
    assert gain[round(9.545 * RATE)] == pytest.approx(10 ** (-30 / 20), rel=0.01)
    assert not gain[round(9.79 * RATE) + 1 :].any()
    # Nothing near the end to end on: the music just stops.
    assert last_hit(10.0, np.array([2.0, 9.9])) is None
    hit, none = (gain_of(envelope(800, RATE, NONE, ending), 0, 800) for ending in ("hit", "none"))
    np.testing.assert_array_equal(hit, none)


@pytest.mark.parametrize("ending", ["fade", "hit", "none"])
@pytest.mark.parametrize("length", [1, 3, 100, 8000])
def test_any_length_has_every_ending(ending: str, length: int) -> None:
    gain = gain_of(envelope(length, RATE, np.array([0.0, 0.4]), ending), 0, length)  # type: ignore[arg-type]
    assert gain.shape == (length,)
    assert np.isfinite(gain).all()


def test_music_breaks_off_with_the_dancer_and_comes_back_on_a_beat() -> None:
    beats = np.arange(0.0, 10.0, 0.5)
    # The dancer moves on at 4.68 towards the beat at 5.0; at 7.05, 50 ms after the beat at 7.0, towards that one.
    breaks = breaks_in([(3.1, 4.68), (6.0, 7.05)], beats, 10.0)
    assert breaks == ((3.1, 5.0), (6.0, 7.0))
    assert breaks_in([(3.1, 4.58)], NONE, 10.0) == ((3.1, 4.58),)
    gain = gain_of(pauses(10 * RATE, RATE, breaks), 0, 10 * RATE)
    np.testing.assert_array_equal(gain[: round(3.1 * RATE)], 1.0)
    # Half of 150 ms after the stop the power is halved; then nothing, until 10 ms before the beat.
    assert gain[round(3.175 * RATE)] == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert not gain[round(3.25 * RATE) : round(4.99 * RATE)].any()
    np.testing.assert_array_equal(gain[5 * RATE : 6 * RATE], 1.0)
    np.testing.assert_array_equal(gain[7 * RATE :], 1.0)
    np.testing.assert_array_equal(gain_of(pauses(100, RATE, ()), 0, 100), 1.0)


def test_a_break_is_silent_in_the_piece() -> None:
    music, _ = finish(noise(5.0), RATE, NONE, "none", -20.0, [(2.0, 3.0)])
    quiet = slice(round(2.15 * RATE), round(2.99 * RATE))
    assert np.abs(music[:, quiet]).max() < 1e-3
    # Gates of BS.1770 leave silence out: what is heard is as loud as without the break.
    assert integrated_loudness(music, RATE) == pytest.approx(-20.0, abs=0.01)


def test_silence_stays_silence() -> None:
    music, level = finish(np.zeros((1, RATE), np.float32), RATE, NONE, "fade", -14.0)
    assert not music.any()
    assert level.decided_by is None
