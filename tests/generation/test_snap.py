from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from d2m_cli.generation.alignment import Bounds, best_fit, octaves, pairings, smooth
from d2m_cli.generation.bend import attacks
from d2m_cli.generation.snap import Snap, distance, land, slack, snap
from d2m_cli.rhythm.sequence import BeatMap
from tests.generation.test_bend import RATE, heard, hits

SECONDS = 10.0


def song(bpm: float, seconds: float = 24.0) -> np.ndarray:
    """Hits on a soft bed, each as strong as the next."""
    return hits(music(bpm, 0.33, seconds), seconds)


def dance(bpm: float = 120.0, first: float = 0.2, confidence: float = 0.9) -> BeatMap:
    beats = np.arange(first, SECONDS, 60 / bpm)
    return BeatMap(beats, bpm, confidence, np.full(len(beats), bpm))


def music(bpm: float, first: float, seconds: float = 12.0) -> np.ndarray:
    return np.arange(first, seconds - 0.05, 60 / bpm)


@pytest.mark.parametrize(("bpm", "first"), [(120.0, 0.45), (126.0, 0.1), (114.0, 0.3), (60.0, 0.9), (240.0, 0.05)])
def test_every_hit_lands(bpm: float, first: float) -> None:
    beats = music(bpm, first)
    # The tracker's beats tremble by 10 ms; the hits don't.
    tracked = beats + np.random.default_rng(0).normal(0, 0.01, len(beats))
    out, done = snap(hits(beats, 12.0, channels=2), RATE, tracked, dance(), SECONDS)
    assert out.shape == (2, round(SECONDS * RATE))
    assert out.dtype == np.float32
    goals = np.arange(0.2, SECONDS, 0.25) if bpm == 240.0 else dance().beats
    inside = heard(out)
    assert len(inside) >= 9
    assert np.abs(inside[:, None] - goals[None]).min(axis=1).max() < 0.02
    assert done.done == ("cut" if bpm in (60.0, 120.0, 240.0) else "bent")
    assert done.per_beat == bpm / 120.0 if bpm in (60.0, 240.0) else done.per_beat == 1.0
    assert 1 / 1.08 - 1e-6 <= done.slowest <= 1.0 <= done.fastest <= 1.08 + 1e-6


def test_a_change_of_tempo_in_the_dance_is_followed() -> None:
    times = np.concatenate([np.arange(0.3, 5.0, 0.5), np.arange(5.28, SECONDS, 0.48)])
    turning = BeatMap(times, 122.0, 0.8, 60 / np.gradient(times))
    beats = music(122.0, 0.05)
    out, done = snap(hits(beats, 12.0), RATE, beats, turning, SECONDS)
    off = np.abs(heard(out)[:, None] - times[None]).min(axis=1)
    assert np.quantile(off, 0.95) < 0.04
    assert done.slowest < 1.0 < done.fastest


@pytest.mark.parametrize(
    ("beats", "asked", "why"),
    [
        (music(120.0, 0.4), dance(confidence=0.3), "the dance has no steady beat"),
        (music(120.0, 0.4), BeatMap.none(), "the dance has fewer than 4 beats"),
        (np.array([1.0, 1.5]), dance(), "the music has no beats"),
        (np.cumsum(np.random.default_rng(0).uniform(0.2, 1.2, 16)), dance(), "the music has no steady beat"),
        (music(150.0, 0.4), dance(), "no stretch by up to 8% fits"),
        (music(120.0, 0.205), dance(), "on the beat already"),
    ],
)
def test_what_can_not_or_need_not_be_snapped_is_left_alone(beats: np.ndarray, asked: BeatMap, why: str) -> None:
    samples = hits(beats, 12.0)
    out, done = snap(samples, RATE, beats, asked, SECONDS)
    assert np.array_equal(out, samples[:, : round(SECONDS * RATE)])
    assert (done.done, done.why) == ("nothing", why)


def test_no_moment_is_bent_by_more_than_the_bound() -> None:
    # At 118 bpm 1.7 % are needed, at 112 already 7 %; attacks take a fifth of the time.
    for bound, bpm in ((0.02, 118.0), (0.08, 113.0), (0.08, 127.0)):
        beats = music(bpm, 0.1, 13.0)
        done = snap(hits(beats, 13.0), RATE, beats, dance(), SECONDS, Bounds(bend=bound))[1]
        assert done.done == "bent"
        assert done.why == ""
        assert 1 / (1 + bound) - 1e-6 <= done.slowest
        assert done.fastest <= 1 + bound + 1e-6
        assert done.after is not None
        assert done.after < 0.03


def test_without_sparing_attacks_only_the_outside_is_untouched() -> None:
    beats = music(114.0, 0.3)
    samples = hits(beats, 12.0)
    spared = snap(samples, RATE, beats, dance(), SECONDS)[1]
    all_bent = snap(samples, RATE, beats, dance(), SECONDS, Bounds(spare_attacks=False))[1]
    # 62 ms of each 526 ms are held.
    assert spared.untouched - all_bent.untouched == pytest.approx(62 / 500, abs=0.05)


def test_the_passage_that_bends_least_is_chosen() -> None:
    # 8 s at 110 bpm, then 20 s at 120: only what follows needs no bending.
    slow, fast = np.arange(0.2, 8.0, 60 / 110), np.arange(8.1, 28.0, 0.5)
    beats = np.concatenate([slow, fast])
    out, done = snap(hits(beats, 28.5), RATE, beats, dance(), SECONDS)
    assert done.done == "cut"
    assert done.offset > 7.0
    assert np.abs(heard(out)[:, None] - dance().beats[None]).min(axis=1).max() < 0.02
    asked = snap(hits(beats, 28.5), RATE, beats, dance(), SECONDS, start=15.0)[1]
    assert asked.offset == pytest.approx(15.0, abs=0.26)


def test_there_is_enough_material_with_the_slack_at_any_phase() -> None:
    # 8 % of 10 s and one beat.
    assert slack(dance(), SECONDS) == pytest.approx(0.8 + 0.5)
    seconds = SECONDS + slack(dance(), SECONDS)
    for first in np.arange(0.0, 0.5, 0.07):
        for bpm in (113.0, 120.0, 126.0):
            beats = music(bpm, first, seconds)
            found = best_fit(seconds, beats, dance().beats, SECONDS, np.zeros((0, 2)), Bounds())
            assert found is not None


def test_octaves_and_pairings_by_hand() -> None:
    beats, goals = np.arange(0.0, 4.0, 0.5), np.arange(0.1, 4.0, 0.5)
    assert octaves(beats, goals, Bounds()) == (1.0,)
    assert octaves(beats[::2], goals, Bounds()) == (0.5,)
    assert octaves(beats, goals[::2], Bounds()) == (2.0,)
    assert octaves(beats * 1.3, goals, Bounds()) == ()
    pairs = list(pairings(beats, goals, 1.0, 4.5, 3.6, None))
    # Beat 0 may go to the first goal, so may 1 to 3; 0 to the second would lack more than a beat before the music,
    # and 4 to the first more than a beat behind its end.
    assert [source[0] - target[0] for source, target in pairs] == pytest.approx([-0.1, 0.4, 0.9, 1.4])


def test_smoothing_follows_tempo_and_not_trembling() -> None:
    source = np.arange(0.0, 20.0, 0.5)
    bounds = np.full(len(source) - 1, 0.9), np.full(len(source) - 1, 1.1)
    trembling = source * 1.03 + np.random.default_rng(0).normal(0, 0.015, len(source))
    found = smooth(source, trembling, *bounds)
    assert np.std(np.diff(found)) < 0.4 * np.std(np.diff(trembling))
    assert np.abs(found - source * 1.03).mean() < 0.01
    wrong = source * 1.03
    wrong[20] += 0.2
    assert smooth(source, wrong, *bounds)[20] == pytest.approx(source[20] * 1.03, abs=0.04)
    steep = smooth(source, source * 1.2, *bounds)
    assert np.diff(steep) == pytest.approx(np.full(len(source) - 1, 0.55))


def test_distance_counts_beats_inside_alone() -> None:
    assert distance(np.array([-1.0, 0.52, 1.0, 9.0]), np.arange(0.0, 5.0, 0.5), 4.0) == pytest.approx(0.01)
    assert distance(np.zeros(0), np.arange(0.0, 5.0, 0.5), 4.0) == pytest.approx(0.125)


def test_what_was_done_can_be_written_down() -> None:
    assert Snap("bent", "", 1.0, 0.123456789, 0.97, 1.0, 0.3, 0.1, 0.01).settings["offset"] == 0.123457
    assert attacks(hits(np.array([1.0]), 2.0), RATE).shape == (1, 2)


@pytest.mark.parametrize("wrong", [{"bend": 0.0}, {"bend": 0.6}, {"notice": -0.1}])
def test_bounds_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="not"):
        Bounds(**wrong)


def test_landing_tracks_by_itself_and_says_where_the_tempo_is_another() -> None:
    out, done = land(hits(music(124.0, 0.33), 12.0), RATE, dance(), SECONDS)
    assert done.done == "bent"
    assert np.abs(heard(out)[:, None] - dance().beats[None]).min(axis=1).max() < 0.03
    assert land(hits(music(150.0, 0.33), 12.0), RATE, dance(), SECONDS)[1].why == "the music keeps another tempo"
    assert land(np.zeros((1, 12 * RATE), np.float32), RATE, dance(), SECONDS)[1].why == "the music has no beats"


@pytest.mark.parametrize(("bpm", "played", "per_beat"), [(70.0, 143.0, 2.0), (160.0, 79.0, 1.0), (70.0, 71.0, 1.0)])
def test_landing_takes_music_of_another_octave(bpm: float, played: float, per_beat: float) -> None:
    out, done = land(song(played), RATE, dance(bpm), SECONDS)
    assert done.done == "bent"
    assert done.per_beat == per_beat
    goals = np.arange(0.2, SECONDS, 60 / bpm / per_beat)
    assert len(heard(out)) >= 0.9 * SECONDS * played / 60
    assert np.abs(heard(out)[:, None] - goals[None]).min(axis=1).max() < 0.035
