"""A data set scored as a whole, from sound to table."""

from __future__ import annotations

import json
from dataclasses import replace

import mir_eval
import numpy as np
import pytest

from d2m_cli.errors import InputError
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import COLUMNS, ONSET_GROUPS, Pair, Scores, beat_alignment, score_pair
from d2m_cli.evaluation.rhythm.summary import (
    NO_DIFFERENCE,
    NO_VERDICT,
    ONE_SONG,
    Difference,
    Summary,
    compare,
    summarise,
)
from tests.evaluation.sounds import bursts, metronome


def line(scores: Scores, name: str):
    (found,) = (found for found in scores.protocols if found.protocol == name)
    return found


def at(*times: float, seconds: float = 5.0) -> Detections:
    return Detections.at(np.array(times, dtype=float), seconds)


def random_pairs(count: int, seed: int, songs: int = 12) -> list[Pair]:
    rng = np.random.default_rng(seed)
    heard = [Detections.at(np.unique(rng.uniform(0, 5, rng.integers(4, 14))), 5.0) for _ in range(2 * count)]
    return [Pair(f"{k}", f"song {k % songs}", heard[2 * k], heard[2 * k + 1]) for k in range(count)]


@pytest.mark.parametrize("bpm", [80.0, 104.0, 128.0])
def test_the_same_beats_played_by_other_sounds_are_all_found(bpm: float) -> None:
    beats = metronome(bpm, 5.12)
    reference = Detections.from_audio(bursts(beats, 5.12), 44100)
    estimated = Detections.from_audio(bursts(beats, 5.12, 32000, 0.03, seed=1), 32000)
    scores = dict(zip(COLUMNS, score_pair(reference, estimated).values(), strict=True))
    assert scores["paper.f1"] == scores["beats70.f1"] == scores["beats200.f1"] == scores["loris.f1"] == 1.0
    assert scores["tempo.accuracy1_4"] == 1.0
    assert scores["alignment.reference"] > 0.9


@pytest.mark.parametrize("bpm", [80.0, 104.0, 128.0])
def test_half_a_period_late_nothing_is(bpm: float) -> None:
    beats = metronome(bpm, 5.12, first=0.1)
    reference = Detections.from_audio(bursts(beats, 5.12), 44100)
    estimated = Detections.from_audio(bursts(beats + 30.0 / bpm, 5.12), 44100)
    scores = dict(zip(COLUMNS, score_pair(reference, estimated).values(), strict=True))
    assert scores["beats70.f1"] == 0.0
    assert scores["loris.f1"] > 0.8  # bins of 1 s see no difference
    assert scores["tempo.accuracy1_4"] == 1.0
    assert scores["alignment.reference"] < 0.01


def test_a_table_by_hand() -> None:
    # Within 0.2 s. Clip a: 2 true, 4 generated, 2 hits: BCS 0.5, BHS 1. Clip b: 2 true, 1 generated, 1 hit: BCS 1,
    # BHS 0.5.
    # Means 0.75 and 0.75, so F1 0.75; the clips' own F1 are both 2/3. Spread: |1 - 0.5| / sqrt(2) = 0.3536.
    pairs = [
        Pair("a", "one", at(1.0, 3.0), at(1.1, 2.0, 3.1, 4.0)),
        Pair("b", "two", at(1.0, 3.0), at(3.15)),
    ]
    found = summarise(pairs, draws=5, resamples=200).system
    paper = line(found, "paper")
    assert (paper.bcs.value, paper.bhs.value, paper.f1.value) == pytest.approx((0.75, 0.75, 0.75))
    assert (paper.csd, paper.hsd) == pytest.approx((0.35355, 0.35355), abs=1e-5)
    assert line(found, "beats200").f1.value == pytest.approx(2 / 3)
    # Bins of 1 s: a true {1, 3}, generated {1, 2, 3, 4}; b generated {3}: coverage 4/2 and 1/2, hits 2/2 and 1/2.
    cdcd = line(found, "cdcd")
    assert (cdcd.bcs.value, cdcd.bhs.value, cdcd.f1) == pytest.approx((1.25, 0.75, None))
    # Resampling two songs gives each of them alone, or both.
    assert (paper.bcs.low, paper.bcs.high) == pytest.approx((0.5, 1.0))
    assert (found.clips, found.songs) == (2, 2)
    assert found.continuity is None
    # With two beats there is no tempo.
    assert found.tempo is None


def test_f_measures_are_mir_evals() -> None:
    pairs = random_pairs(40, 0)
    found = summarise(pairs, draws=2, resamples=50).system
    for name, tolerance in (("beats70", 0.07), ("beats200", 0.2)):
        wanted = [mir_eval.beat.f_measure(pair.reference.beats, pair.estimated.beats, tolerance) for pair in pairs]
        assert line(found, name).f1.value == pytest.approx(np.mean(wanted), abs=1e-12)
        assert line(found, name).f1.low < np.mean(wanted) < line(found, name).f1.high


def test_continuity_and_tempo_are_averaged() -> None:
    beats = np.arange(0.4, 12.0, 0.5)
    right = Detections.at(beats, 12.0)
    wrong = Detections.at(beats[::2] + 0.25, 12.0)
    found = summarise([Pair("a", "1", right, right), Pair("b", "2", right, wrong)], draws=2, resamples=50).system
    assert found.continuity is not None
    assert found.continuity.cmlt.value == pytest.approx(0.5)
    assert found.tempo is not None
    assert found.tempo.accuracy1_4.value == 0.5
    assert found.tempo.accuracy2_4.value == 1.0
    assert found.tempo.median_octave_error == pytest.approx(0.0, abs=1e-9)


def test_beat_alignment_by_hand() -> None:
    # Distances 0 and 0.05 s: (1 + exp(-1/2)) / 2; the other way 0, 0.05 and 1.
    times, others = np.array([1.0, 2.0]), np.array([1.0, 2.05, 3.0])
    assert beat_alignment(times, others) == pytest.approx((1 + np.exp(-0.5)) / 2)
    assert beat_alignment(others, times) == pytest.approx((1 + np.exp(-0.5)) / 3, abs=1e-6)
    assert beat_alignment(times, np.zeros(0)) == beat_alignment(np.zeros(0), times) == 0.0


def test_beat_alignment_is_aist_plus_plus() -> None:
    # Frames at 60 a second, sigma 3 frames, nearest music beat of every motion beat.
    rng = np.random.default_rng(0)
    for _ in range(50):
        motion, music = (np.unique(rng.integers(0, 300, rng.integers(1, 15))) for _ in range(2))
        wanted = np.mean([np.exp(-(min(abs(music - beat)) ** 2) / 2 / 3**2) for beat in motion])
        assert beat_alignment(motion / 60, music / 60) == pytest.approx(wanted)


def test_chance_and_remarks_stand_beside_the_system() -> None:
    pairs = random_pairs(10, 1)
    pairs[3] = replace(pairs[3], estimated=Detections.at(np.zeros(0), 5.0))
    pairs[4] = replace(pairs[4], reference=Detections.at(np.array([1.0]), 5.0))
    found = summarise(pairs, "mine", resamples=50, draws=5)
    assert found.system.name == "mine"
    assert len(found.floors) == 4
    assert found.tracker.startswith("predominant local pulse")
    assert "3: generated: no beats found" in found.remarks
    assert "1 reference has no tempo: chance takes a random one there" in found.remarks
    assert dict(found.clips)["3"][0].counts[0].hits == 0


def test_one_song_says_so() -> None:
    found = summarise(random_pairs(5, 2, songs=1), draws=5, resamples=50)
    assert line(found.system, "paper").f1.low is None
    assert line(found.system, "paper").csd is not None
    assert any("one song" in remark for remark in found.remarks)
    assert len(found.floors) == 2


def test_one_clip() -> None:
    found = summarise(random_pairs(1, 3), draws=5, resamples=50)
    assert line(found.system, "paper").csd is None
    assert line(found.system, "paper").f1.high is None


def plain(found: Summary) -> str:
    return json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("count", [1, 7])
def test_it_is_json_without_holes(count: int) -> None:
    pairs = random_pairs(count, 4)
    pairs[0] = replace(pairs[0], estimated=Detections.at(np.zeros(0), 0.0))
    content = json.loads(plain(summarise(pairs, draws=3, resamples=20)))
    assert content["protocols"]["cdcd"]["averaging"].startswith("BCS = generated / true")
    assert content["system"]["protocols"][0]["protocol"] == "paper"
    assert len(content["clips"]) == count


def test_the_seed_decides() -> None:
    pairs = random_pairs(6, 5)
    first, again, other = (plain(summarise(pairs, draws=3, resamples=100, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def compared(first: list[Pair], second: list[Pair]) -> tuple[Difference, ...]:
    return compare(summarise(first, draws=1), summarise(second, draws=1), {pair.name: pair.song for pair in first})


def by_measure(found: tuple[Difference, ...]) -> dict[str, Difference]:
    return {one.measure: one for one in found}


def test_comparing() -> None:
    worse = random_pairs(60, 6)
    better = [replace(pair, estimated=pair.reference) for pair in worse]
    found = by_measure(compared(better, list(reversed(worse))))
    assert found["paper.f1"].verdict == "first is higher"
    assert found["paper.f1"].p < 0.01
    assert found["paper.f1"].difference == pytest.approx(
        1.0 - line(summarise(worse, draws=1, resamples=2).system, "paper").f1.value
    )
    assert by_measure(compared(worse, better))["beats70.f1"].verdict == "second is higher"
    # What no clip has a value of is not compared: F1 of cdcd, continuity under 10 s.
    assert "cdcd.f1" not in found
    assert "continuity.cmlt" not in found
    assert "tempo.octave_error" not in found


def test_equal_systems_show_no_difference() -> None:
    first = random_pairs(40, 7)
    second = [replace(pair, estimated=other.estimated) for pair, other in zip(first, random_pairs(40, 8), strict=True)]
    found = by_measure(compared(first, second))["beats200.f1"]
    assert found.verdict == NO_DIFFERENCE
    assert found.low < 0.0 < found.high
    assert all(one.verdict == NO_DIFFERENCE and one.p == 1.0 for one in compared(first, first))


def test_comparing_on_one_song() -> None:
    pairs = random_pairs(4, 9, songs=1)
    assert {one.verdict for one in compared(pairs, pairs)} == {ONE_SONG}
    assert all(one.p is None for one in compared(pairs, pairs))


def test_what_can_not_be_scored_is_refused() -> None:
    pairs = random_pairs(4, 10)
    with pytest.raises(InputError, match="no clips"):
        summarise([])
    with pytest.raises(InputError, match="two clips are named 0"):
        summarise([*pairs, pairs[0]])
    with pytest.raises(InputError, match="only one of the two systems has 3"):
        compared(pairs, pairs[:3])


def seeds_by_hand() -> list[Pair]:
    """Two clips of four beats, of which seed x hits all and none, seed y all and half."""
    times = (0.5, 1.5, 2.5, 3.5)
    true = at(*times)
    hits = {"x": (times, (1.0, 2.0, 3.0, 4.0)), "y": (times, (0.5, 1.0, 2.5, 3.0))}
    return [
        Pair(name, name, true, at(*made), seed)
        for seed, clips in hits.items()
        for name, made in zip("ab", clips, strict=True)
    ]


def test_figures_are_means_over_seeds() -> None:
    found = summarise(seeds_by_hand(), draws=5, resamples=500)
    beats = line(found.system, "beats70")
    assert beats.f1.value == pytest.approx((1.0 + 0.0 + 1.0 + 0.5) / 4)
    # One song of one seed, at least and at most.
    assert (beats.f1.low, beats.f1.high) == pytest.approx((0.0, 1.0))
    # Spreads of two clips are their distance over the root of 2: those of 1 and 0 and of 1 and 0.5, averaged.
    assert beats.bhs.value == pytest.approx(0.625)
    assert beats.hsd == pytest.approx((1.0 + 0.5) / 2 / np.sqrt(2))
    assert (found.system.clips, found.system.songs) == (2, 2)
    assert [(name, len(seeds)) for name, seeds in found.clips] == [("a", 2), ("b", 2)]
    json.dumps(found.to_json(), allow_nan=False)


def test_a_seed_more_widens_the_interval_where_seeds_differ() -> None:
    first = random_pairs(40, 11)
    right = [replace(pair, estimated=pair.reference, seed="right") for pair in first]
    alone = line(summarise(first, draws=1).system, "beats70").f1
    both = line(summarise([*first, *right], draws=1).system, "beats70").f1
    assert both.value == pytest.approx((alone.value + 1.0) / 2)
    assert both.high == pytest.approx(1.0)
    assert both.low == pytest.approx(alone.low, abs=0.05)


def test_chance_is_that_of_one_seed() -> None:
    pairs = seeds_by_hand()
    one, both = (summarise(some, draws=20, resamples=50) for some in (pairs[:2], pairs))
    assert one.floors[:3] == both.floors[:3]
    assert both.floors[3].clips == 2


def test_remarks_name_the_seed_and_those_of_the_reference_none() -> None:
    pairs = seeds_by_hand()
    pairs[3] = replace(pairs[3], estimated=Detections.at(np.zeros(0), 5.0))
    lone = Detections.at(np.zeros(0), 5.0)
    pairs = [replace(pair, reference=lone) if pair.name == "a" else pair for pair in pairs]
    found = summarise(pairs, draws=5, resamples=50).remarks
    assert "y: b: generated: no beats found" in found
    assert found.count("a: reference: no beats found") == 1
    assert "1 reference has no tempo: chance takes a random one there" in found


def test_systems_with_other_numbers_of_seeds_are_compared() -> None:
    pairs = seeds_by_hand()
    found = by_measure(compared(pairs[:2], pairs[2:]))["beats70.f1"]
    assert found.difference == pytest.approx(0.5 - 0.75)
    found = by_measure(compared(pairs, pairs[2:]))["beats70.f1"]
    assert found.difference == pytest.approx(0.625 - 0.75)
    # x or y of the first less y, by song: 0 to 0.5 - 1.
    assert (found.low, found.high) == pytest.approx((-0.5, 0.0))


def test_no_verdict_from_onsets_where_none_follows() -> None:
    worse = random_pairs(60, 6)
    better = [replace(pair, estimated=pair.reference) for pair in worse]
    songs = {pair.name: pair.song for pair in worse}
    found = by_measure(compare(summarise(better, draws=1), summarise(worse, draws=1), songs, ONSET_GROUPS))
    assert {found[f"{name}.f1"].verdict for name in ("paper", "bins5", "loris")} == {NO_VERDICT}
    assert found["cdcd.bhs"].verdict == NO_VERDICT
    assert found["paper.f1"].difference > 0.0
    assert found["beats70.f1"].verdict == "first is higher"


def test_seeds_have_the_same_clips() -> None:
    pairs = seeds_by_hand()
    with pytest.raises(InputError, match="seed y has no b"):
        summarise(pairs[:3])
    with pytest.raises(InputError, match="two clips are named a"):
        summarise([*pairs, pairs[0]])
