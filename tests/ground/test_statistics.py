"""Intervals where they are known: normal theory, songs that agree with themselves, and nothing to resample."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import norm

from d2m_cli.ground.statistics import bootstrap, draw_seeds, paired_bootstrap


def same(means: np.ndarray) -> np.ndarray:
    return means


def test_of_independent_clips_it_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (400, 1))
    found = bootstrap(values, list(range(400)), same, 4000)
    error = values.std(ddof=1) / 20
    assert found.low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.03)
    assert found.high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.03)


def test_clips_of_one_song_are_one_piece_of_evidence() -> None:
    song = np.random.default_rng(1).normal(0.0, 1.0, (30, 1))
    once = bootstrap(song, list(range(30)), same)
    often = bootstrap(np.repeat(song, 20, axis=0), np.repeat(np.arange(30), 20).tolist(), same)
    assert often.low[0] == pytest.approx(once.low[0])
    assert often.high[0] == pytest.approx(once.high[0])


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        songs = np.repeat(np.arange(40), 3)
        values = rng.normal(0.0, 1.0, 40)[songs] + rng.normal(0.0, 0.5, 120)
        found = bootstrap(values[:, None], songs.tolist(), same, 500, trial)
        hits += found.low[0] <= 0.0 <= found.high[0]
    assert 0.89 <= hits / 200 <= 0.985


def test_one_song_has_no_interval() -> None:
    values = np.random.default_rng(3).random((5, 2))
    assert np.isnan(bootstrap(values, ["a"] * 5, same).low).all()
    found = paired_bootstrap(values, values / 2, ["a"] * 5, same)
    assert np.isnan(found.interval.high).all()
    assert np.isnan(found.p).all()
    assert found.difference == pytest.approx(values.mean(axis=0) / 2)


def test_a_value_that_one_song_alone_has() -> None:
    values = np.array([[1.0, 1.0], [2.0, np.nan], [3.0, np.nan]])
    found = bootstrap(values, ["a", "b", "c"], same)
    assert found.low[0] < found.high[0]
    assert np.isnan(found.low[1])


def test_missing_values_count_neither_way() -> None:
    values = np.random.default_rng(4).random((40, 1))
    holed = np.where(np.arange(40)[:, None] % 4 == 0, np.nan, values)
    there = ~np.isnan(holed[:, 0])
    songs = np.arange(40) // 4  # every song keeps three of its four clips
    found = bootstrap(holed, songs.tolist(), same)
    wanted = bootstrap(values[there], songs[there].tolist(), same)
    assert (found.low[0], found.high[0]) == pytest.approx((wanted.low[0], wanted.high[0]))


def test_statistics_are_of_the_means() -> None:
    values = np.random.default_rng(5).random((50, 2))
    found = bootstrap(values, list(range(50)), lambda means: means[..., :1] / means[..., 1:] * [1.0, 1.0])
    assert found.low[0] < values[:, 0].mean() / values[:, 1].mean() < found.high[0]


def test_paired_differences() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(0.0, 5.0, (60, 1))
    better = base + 0.5 + rng.normal(0.0, 0.3, (60, 1))
    found = paired_bootstrap(better, base, list(range(60)), same)
    # Unpaired, five is far more than a half; paired, the error is 0.3 / sqrt(60) = 0.039.
    assert found.difference[0] == pytest.approx(0.5, abs=0.12)
    assert found.interval.high[0] - found.interval.low[0] == pytest.approx(2 * 1.96 * 0.039, rel=0.3)
    assert found.p[0] < 0.002
    back = paired_bootstrap(base, better, list(range(60)), same)
    assert back.difference[0] == pytest.approx(-found.difference[0])
    assert back.interval.low[0] == pytest.approx(-found.interval.high[0])
    assert back.p[0] == found.p[0]


@pytest.mark.parametrize("errors", [0.5, 1.3, 2.2])
def test_p_is_two_sided(errors: float) -> None:
    gain = np.random.default_rng(10).standard_normal((200, 1))
    gain += errors * gain.std() / np.sqrt(200) - gain.mean()  # that many standard errors from 0
    found = paired_bootstrap(gain, np.zeros((200, 1)), list(range(200)), same, 5000)
    assert found.p[0] == pytest.approx(2 * norm.sf(errors), abs=0.025)


def test_no_difference() -> None:
    rng = np.random.default_rng(7)
    values = rng.random((80, 1))
    assert paired_bootstrap(values, values, list(range(80)), same).p[0] == 1.0
    noisy = paired_bootstrap(values, rng.permutation(values), list(range(80)), same)
    assert noisy.interval.low[0] < 0.0 < noisy.interval.high[0]
    assert noisy.p[0] > 0.05


def test_the_seed_decides() -> None:
    values = np.random.default_rng(8).random((20, 1))
    first, again, other = (bootstrap(values, list(range(20)), same, 200, seed).low[0] for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("songs", [["a", "b"], ["a", "b", "c", "d"]])
def test_every_clip_needs_a_song(songs: list[str]) -> None:
    with pytest.raises(ValueError, match="3 clips"):
        bootstrap(np.zeros((3, 1)), songs, same)


def test_two_systems_need_the_same_clips() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        paired_bootstrap(np.zeros((3, 1)), np.zeros((4, 1)), ["a", "b", "c"], same)


def test_a_thousand_clips_take_under_a_second() -> None:
    values = np.random.default_rng(9).random((1000, 27))
    start = time.process_time()
    bootstrap(values, list(range(1000)), same, 2000)
    assert time.process_time() - start < 1.0


def test_one_seed_of_several_is_that_seed_alone() -> None:
    values = np.random.default_rng(20).random((12, 2))
    songs = [number // 2 for number in range(12)]
    for alone, stacked in (
        (bootstrap(values, songs, same), bootstrap(values[None], songs, same)),
        (
            paired_bootstrap(values, values**2, songs, same).interval,
            paired_bootstrap(values[None], values[None] ** 2, songs, same).interval,
        ),
    ):
        assert (alone.low == stacked.low).all()
        assert (alone.high == stacked.high).all()


def test_seeds_that_differ_alone_spread_as_their_mean_does() -> None:
    # Seeds of 0, 1 and 2, all clips of each alike: two are drawn of three, so the mean of them is 0 or 2 in one draw of
    # nine each. Of two seeds one is drawn.
    three = np.broadcast_to(np.arange(3.0)[:, None, None], (3, 50, 1))
    found = bootstrap(three, list(range(50)), same, 5000)
    assert (found.low[0], found.high[0]) == (0.0, 2.0)
    drawn = draw_seeds(3, 20000, 0) @ np.arange(3.0) / 2
    # Standard error of a mean: the standard deviation with ddof 1, here 1, over the root of 3.
    assert drawn.std() == pytest.approx(np.arange(3.0).std(ddof=1) / np.sqrt(3), rel=0.02)
    assert set(map(tuple, draw_seeds(2, 100, 0).tolist())) == {(0.0, 1.0), (1.0, 0.0)}
    assert (draw_seeds(1, 10, 0) == 1.0).all()


def seeds_and_songs(rng: np.random.Generator, seeds: int, songs: int) -> np.ndarray:
    """(seeds, songs, 1) values whose mean over all seeds and songs there could be is 0."""
    shape = (seeds, songs)
    return (rng.normal(0.0, 0.5, songs) + rng.normal(0.0, 0.5, (seeds, 1)) + rng.normal(0.0, 1.0, shape))[..., None]


def test_intervals_over_seeds_cover_what_intervals_of_one_seed_miss() -> None:
    rng = np.random.default_rng(21)
    one = several = 0
    for trial in range(200):
        values = seeds_and_songs(rng, 5, 20)
        alone = bootstrap(values[:1], list(range(20)), same, 400, trial)
        found = bootstrap(values, list(range(20)), same, 400, trial)
        one += alone.low[0] <= 0.0 <= alone.high[0]
        several += found.low[0] <= 0.0 <= found.high[0]
    assert one / 200 < 0.8
    assert several / 200 > 0.88


def test_a_difference_pairs_songs_and_draws_the_seeds_of_each_system() -> None:
    rng = np.random.default_rng(22)
    song = rng.normal(0.0, 5.0, (1, 30, 1))
    # The songs differ by far more than the systems, and drop out; the seeds of the second are one fewer.
    first, second = (song + np.array(gains)[:, None, None] for gains in ([1.0, 1.2, 1.4], [0.0, 0.1]))
    found = paired_bootstrap(first, second, list(range(30)), same)
    assert found.difference[0] == pytest.approx(1.15)
    # 1.0 to 1.4 less 0 to 0.1, by hand.
    assert (found.interval.low[0], found.interval.high[0]) == pytest.approx((0.9, 1.4))
    assert found.p[0] < 0.01


def test_a_value_that_some_seeds_lack_counts_and_one_that_all_lack_counts_for_neither() -> None:
    first = np.array([[[1.0], [2.0], [np.nan]], [[3.0], [np.nan], [np.nan]]])
    second = np.zeros((1, 3, 1))
    second[0, 2] = 9.0
    found = paired_bootstrap(first, second, ["a", "b", "c"], same)
    assert found.difference[0] == pytest.approx((1.0 + 3.0 + 2.0) / 3)
