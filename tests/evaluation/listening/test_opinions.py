"""Opinion scores that are worked out by hand, and answers that do not count."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import InputError
from d2m_cli.evaluation.listening.opinions import crossed_bootstrap, score_answers
from tests.evaluation.listening.material import answer, answers, plain_key, scores_of, table_files, write


def test_means_and_differences_by_hand(tmp_path: Path) -> None:
    # Two people, two clips; system 0 gets 4, 5, 3, 5 and system 1 gets 2, 3, 2, 2.
    scores = scores_of(tmp_path, np.array([[[4, 2], [5, 3]], [[3, 2], [5, 2]]]))
    assert (scores.participants, scores.clips) == (2, 2)
    found = {(one.system, one.scale): one for one in scores.opinions}
    assert list(found) == [(system, scale) for system in ("system 0", "system 1") for scale in ("coherence", "quality")]
    assert found["system 0", "coherence"].mean == 17 / 4
    assert found["system 1", "coherence"].mean == 9 / 4
    assert found["system 0", "quality"].mean == 6 - 17 / 4
    assert all((one.ratings, one.participants, one.clips) == (4, 2, 2) for one in scores.opinions)
    # The differences are 2, 2, 1, 3: people's means 2 and 2, clips' means 1.5 and 2.5.
    one = scores.differences[0]
    assert (one.first, one.second, one.scale, one.mean, one.pairs) == ("system 0", "system 1", "coherence", 2.0, 4)
    assert one.verdict == "system 0 is rated higher"
    assert scores.differences[1].mean == -2.0
    assert scores.differences[1].verdict == "system 1 is rated higher"


def test_interval_of_two_people_by_hand(tmp_path: Path) -> None:
    # One always says 1, one always 5: a draw of both means 1 (one in four), 3 (two in four) or 5 (one in four).
    scores = scores_of(tmp_path, np.array([[[1], [1]], [[5], [5]]]))
    assert (scores.opinions[0].mean, scores.opinions[0].low, scores.opinions[0].high) == (3.0, 1.0, 5.0)
    # The same in clips instead of people.
    scores = scores_of(tmp_path, np.array([[[1], [5]], [[1], [5]]]))
    assert (scores.opinions[0].low, scores.opinions[0].high) == (1.0, 5.0)
    # All agree.
    scores = scores_of(tmp_path, np.full((2, 2, 1), 4))
    assert (scores.opinions[0].low, scores.opinions[0].high) == (4.0, 4.0)


def test_interval_is_that_of_all_draws_of_people_and_clips() -> None:
    table = np.random.default_rng(4).normal(3.0, 1.0, (4, 4))
    table[1, 2] = np.nan
    draws = np.array(list(itertools.product(range(4), repeat=4)))
    tables = table[draws[:, None, :, None], draws[None, :, None, :]].reshape(-1, 16)
    drawn = [row[np.isfinite(row)].mean() for row in tables if np.isfinite(row).any()]
    found = crossed_bootstrap(table[:, :, None], 40000, seed=1)
    assert [found.low[0], found.high[0]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_intervals_hold_for_other_people_and_other_dances() -> None:
    """Where dances differ as much as people, 95 % must hold; the usual interval over people alone does not."""
    rng = np.random.default_rng(0)
    people, clips, trials = 40, 10, 150
    crossed = usual = 0
    for trial in range(trials):
        table = rng.normal(0.0, 0.4, (people, 1)) + rng.normal(0.0, 0.4, clips) + rng.normal(0.0, 0.8, (people, clips))
        found = crossed_bootstrap(table[:, :, None], 400, trial)
        crossed += found.low[0] <= 0.0 <= found.high[0]
        means = table.mean(axis=1)
        usual += abs(means.mean()) <= 2.02 * means.std(ddof=1) / people**0.5
    assert crossed / trials > 0.88
    assert usual / trials < 0.80


def test_no_difference_where_zero_is_inside(tmp_path: Path) -> None:
    table = np.array([[[3, 4], [4, 3]], [[5, 4], [2, 3]]])
    one = scores_of(tmp_path, table).differences[0]
    assert one.mean == 0.0
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0.0 < one.high
    assert one.verdict == "no difference shown"
    # Zero at the very end of the interval shows none either.
    even = scores_of(tmp_path, np.full((3, 3, 2), 4)).differences[0]
    assert (even.low, even.high, even.verdict) == (0.0, 0.0, "no difference shown")


def test_pairs_cancel_what_people_share(tmp_path: Path) -> None:
    """People of very different taste who agree on the difference: wide scores, a narrow difference."""
    mild = np.array([2, 3, 4, 5, 2, 5])[:, None, None] - np.array([0, 1])
    scores = scores_of(tmp_path, np.tile(mild, (1, 3, 1)))
    assert scores.opinions[0].high - scores.opinions[0].low > 1.0
    one = scores.differences[0]
    assert (one.mean, one.low, one.high) == (1.0, 1.0, 1.0)


def test_one_person_or_one_clip_has_no_interval(tmp_path: Path) -> None:
    for shape in ((1, 3, 2), (3, 1, 2)):
        scores = scores_of(tmp_path, np.full(shape, 3))
        assert all(one.mean == 3.0 and one.low is None and one.high is None for one in scores.opinions)
        assert {one.verdict for one in scores.differences} == {"too few ratings to tell"}


def test_unplayed_items_count_nowhere(tmp_path: Path) -> None:
    files = table_files(tmp_path, np.array([[[4, 2], [5, 3]], [[3, 2], [5, 2]]]))
    first = json.loads(files[0].read_text())
    first["ratings"][0] = answer("c0s0", None, None, problem="it did not load", plays=0)
    write(files[0], first)
    scores = score_answers(files, plain_key(tmp_path / "key.json"))
    assert scores.opinions[0].mean == pytest.approx((5 + 3 + 5) / 3)
    assert scores.opinions[0].ratings == 3
    assert scores.differences[0].mean == pytest.approx((2 + 1 + 3) / 3)
    assert scores.differences[0].pairs == 3
    (one,) = scores.unplayed
    assert (one.participant, one.clip, one.system, one.reason) == ("p0", "clip 0", "system 0", "it did not load")


def test_nothing_rated_has_no_mean(tmp_path: Path) -> None:
    ratings = [answer(f"c{clip}s{system}", None, None, problem="no", plays=0) for clip in (0, 1) for system in (0, 1)]
    scores = score_answers([write(tmp_path / "a.json", answers("a", ratings))], plain_key(tmp_path / "key.json"))
    assert {one.mean for one in scores.opinions} == {None}
    assert {one.mean for one in scores.differences} == {None}


def test_repeats_tell_how_steady_people_are_and_count_once(tmp_path: Path) -> None:
    key = plain_key(tmp_path / "key.json", repeat=True)
    ratings = [answer("c0s0", 4, 4), answer("c0s1", 2, 2), answer("c1s0", 4, 4), answer("c1s1", 2, 2)]
    content = answers("a", [*ratings, answer("c0s0", 1, 5, repeat=True)])
    scores = score_answers([write(tmp_path / "a.json", content)], key)
    assert scores.opinions[0].mean == 4.0
    (one,) = scores.repeats
    assert (one.clip, one.system, one.coherence, one.quality) == ("clip 0", "system 0", -3, 1)
    without = write(tmp_path / "b.json", answers("b", ratings))
    both = score_answers([tmp_path / "a.json", without], key)
    assert both.refused[0].reason == "holds 0 repeated items instead of 1"


@pytest.mark.parametrize("first_is_later", [True, False])
def test_of_two_files_the_last_one_finished_counts(tmp_path: Path, first_is_later: bool) -> None:
    key = plain_key(tmp_path / "key.json", systems=1, clips=1)
    early = write(tmp_path / "z.json", answers("Anna", [answer("c0s0", 1, 1)]))
    content = answers("anna ", [answer("c0s0", 5, 5)], finished="2026-05-01T12:21:00+02:00")
    late = write(tmp_path / "a.json", content)
    scores = score_answers([late, early] if first_is_later else [early, late], key)
    assert (scores.participants, scores.opinions[0].mean) == (1, 5.0)
    (one,) = scores.replaced
    assert one.path == early
    assert one.reason == f"Anna finished {late} later"


GOOD = [answer("c0s0", 4, 3), answer("c1s0", 2, 5)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "is no file of answers"),
        ([], "is no file of answers"),
        ("{", "is no JSON"),
        (answers("a", GOOD, format="d2m-listening-key"), "is no file of answers"),
        (answers("a", GOOD, version=2), "is of version 2"),
        (answers("a", GOOD, test="fedcba9876543210"), "answers test fedcba9876543210, not 0123456789abcdef"),
        (answers(" ", GOOD), "names no participant"),
        (answers("a", GOOD, participant=7), "names no participant"),
        (answers("a", GOOD, started="yesterday"), "does not say when it was started"),
        (answers("a", GOOD, finished=None), "does not say when it was finished"),
        (answers("a", GOOD, finished="2026-05-01T10:20:00"), "does not say in which time zone"),
        (answers("a", GOOD, finished="2026-05-01T09:20:00Z"), "was finished before it was started"),
        (answers("a", GOOD, ratings={}), "holds no list of ratings"),
        (answers("a", GOOD[:1]), "lacks 1 of 2 items"),
        (answers("a", [*GOOD, GOOD[0]]), "rates item c0s0 more than once"),
        (answers("a", [*GOOD, answer("c9s0", 1, 1)]), "rates 'c9s0', which is not in this test"),
        (answers("a", [*GOOD, answer("c0s0", 1, 1, repeat=True)]), "holds 1 repeated items instead of 0"),
        (answers("a", [GOOD[0], answer("c1s0", 1, 1, repeat="no")]), "whether item c1s0 is a repeat"),
        (answers("a", [GOOD[0], answer("c1s0", 0, 3)]), "rated 0 and 3"),
        (answers("a", [GOOD[0], answer("c1s0", 3, 6)]), "rated 3 and 6"),
        (answers("a", [GOOD[0], answer("c1s0", 3.5, 3)]), "rated 3.5 and 3"),
        (answers("a", [GOOD[0], answer("c1s0", True, 3)]), "rated True and 3"),
        (answers("a", [GOOD[0], answer("c1s0", "4", 3)]), "rated '4' and 3"),
        (answers("a", [GOOD[0], answer("c1s0", None, None)]), "rated None and None"),
        (answers("a", [GOOD[0], answer("c1s0", 3, 3, problem="no sound")]), "rated 3 and 3"),
        (answers("a", [GOOD[0], answer("c1s0", 3, 3, plays=0)]), "was not played to its end"),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, content: Any, reason: str) -> None:
    key = plain_key(tmp_path / "key.json", systems=1)
    good = write(tmp_path / "good.json", answers("good", GOOD))
    bad = tmp_path / "bad.json"
    bad.write_text(content if isinstance(content, str) else json.dumps(content))
    scores = score_answers([good, bad], key)
    assert scores.participants == 1
    (one,) = scores.refused
    assert one.path == bad
    assert reason in one.reason
    with pytest.raises(InputError, match=r"no file of answers can be used: .*bad\.json: "):
        score_answers([bad], key)


def test_files_and_keys_that_are_none(tmp_path: Path) -> None:
    key = plain_key(tmp_path / "key.json", systems=1)
    good = write(tmp_path / "good.json", answers("good", GOOD))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.json").write_text("[" * 100000)
    scores = score_answers([good, tmp_path / "missing.json", tmp_path / "binary.json", tmp_path / "deep.json"], key)
    assert [one.reason.split(" (")[0] for one in scores.refused] == ["can't be read", "is no JSON", "is no JSON"]
    with pytest.raises(InputError, match="none was given"):
        score_answers([], key)
    with pytest.raises(InputError, match=r"good\.json: is no key of a listening test"):
        score_answers([good], good)
    broken = json.loads(key.read_text())
    del broken["clips"][0]["items"]["c0s0"]
    with pytest.raises(InputError, match=r"damaged key .*1 items for 1 systems and 2 dances"):
        score_answers([good], write(tmp_path / "broken.json", broken))


def test_json_says_the_verdict(tmp_path: Path) -> None:
    scores = scores_of(tmp_path, np.array([[[4, 2], [5, 3]], [[3, 2], [5, 2]]]))
    content = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert content["differences"][0]["verdict"] == "system 0 is rated higher"
    assert content["opinions"][0]["mean"] == 4.25


def test_the_seed_decides_the_intervals(tmp_path: Path) -> None:
    table = np.random.default_rng(3).integers(1, 6, (6, 5, 2))
    assert scores_of(tmp_path, table, seed=1) == scores_of(tmp_path, table, seed=1)
    assert scores_of(tmp_path, table, seed=1) != scores_of(tmp_path, table, seed=2)
