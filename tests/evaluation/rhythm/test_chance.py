"""Chance where its score is known on paper."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.chance import chance_floors
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Pair, Scores
from tests.evaluation.sounds import metronome


def even(bpm: float, seconds: float = 8.0, first: float = 0.2) -> Detections:
    return Detections.at(metronome(bpm, seconds, first), seconds, bpm)


def f1(floor: Scores, name: str) -> float:
    (found,) = (line for line in floor.protocols if line.protocol == name)
    assert found.f1 is not None
    return found.f1.value


def pairs_at(bpm: float, count: int = 6) -> list[Pair]:
    return [Pair(f"{k}", f"song {k}", even(bpm, first=0.1 + 0.05 * k), even(bpm)) for k in range(count)]


@pytest.mark.parametrize("bpm", [75.0, 100.0, 120.0])
def test_a_metronome_at_the_true_tempo(bpm: float) -> None:
    floor = chance_floors(pairs_at(bpm), draws=150)[0]
    assert floor.name == "metronome at the true tempo"
    # Its phase is within +-0.2 s or +-0.07 s of the beats in 0.4 s or 0.14 s of every period.
    assert f1(floor, "paper") == pytest.approx(min(0.4 * bpm / 60, 1.0), abs=0.05)
    assert f1(floor, "beats70") == pytest.approx(0.14 * bpm / 60, abs=0.05)
    assert floor.tempo is not None
    assert floor.tempo.accuracy1_4.value == 1.0


def test_its_spread_is_that_of_the_draws() -> None:
    few, many = (chance_floors(pairs_at(100.0, count), draws=150)[0].protocols[4].f1 for count in (3, 12))
    # All beats of a clip hit or none: a mean of n clips spreads like sqrt(0.23 * 0.77 / n), 0.24 and 0.12.
    assert few is not None
    assert many is not None
    assert few.high - few.low > 1.5 * (many.high - many.low)
    assert many.high - many.low == pytest.approx(3.9 * 0.12, rel=0.3)


def test_a_metronome_at_a_random_tempo() -> None:
    floor = chance_floors(pairs_at(100.0), draws=150)[1]
    assert floor.tempo is not None
    # 92 to 108.7 of 60 to 180 on a scale of octaves, for 8 % of 100: ln(108 / 92) / ln 3 = 0.146.
    assert floor.tempo.accuracy1_8.value == pytest.approx(0.146, abs=0.04)
    assert 0.4 < f1(floor, "beats200") < 0.8


def test_other_songs() -> None:
    # Two songs off by half a beat: the other song's true music hits nothing, its generated music everything.
    one, two = even(100.0, first=0.1), even(100.0, first=0.4)
    pairs = [Pair("a", "one", one, two), Pair("b", "two", two, one), Pair("c", "one", one, two)]
    floors = {floor.name: floor for floor in chance_floors(pairs, draws=20)}
    assert f1(floors["true music of another song"], "beats70") == 0.0
    assert f1(floors["generated music of another song"], "beats70") == 1.0
    assert floors["true music of another song"].clips == 3
    assert floors["true music of another song"].songs == 2


def test_one_song_has_no_other() -> None:
    pair = Pair("a", "one", even(100.0), even(100.0))
    assert [floor.name for floor in chance_floors([pair], draws=5)] == [
        "metronome at the true tempo",
        "metronome at a random tempo",
    ]


def test_a_reference_without_a_tempo() -> None:
    lone = Detections.at(np.array([1.0, 4.0]), 6.0)
    assert lone.bpm is None
    floor = chance_floors([Pair("a", "one", lone, even(100.0, 6.0))], draws=20)[0]
    assert floor.tempo is None
    assert floor.protocols[0].f1.value > 0.0


def test_the_seed_decides() -> None:
    first, again, other = (chance_floors(pairs_at(90.0), draws=10, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_column_of_a_system_is_there() -> None:
    pairs = [Pair(f"{k}", f"{k}", even(110.0, 12.0, 0.1 + 0.1 * k), even(100.0, 12.0)) for k in range(3)]
    for floor in chance_floors(pairs, draws=25):
        assert [line.protocol for line in floor.protocols] == ["paper", "bins5", "loris", "cdcd", "beats70", "beats200"]
        assert floor.continuity is not None
        assert 0.0 <= floor.continuity.cmlt.value <= floor.continuity.amlt.value <= 1.0
        assert floor.alignment_reference.low <= floor.alignment_reference.value + 1e-9
        assert floor.alignment_reference.value <= floor.alignment_reference.high + 1e-9
        assert all(line.csd is not None and line.hsd is not None for line in floor.protocols)
