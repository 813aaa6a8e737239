import numpy as np
import pytest

from d2m_cli.rhythm.sequence import BeatMap, Rhythm, Tempo


def test_map_checks_itself():
    with pytest.raises(ValueError, match="rising"):
        BeatMap(np.array([1.0, 1.0]), 100.0, 0.5, np.full(2, 100.0))
    with pytest.raises(ValueError, match="tempi"):
        BeatMap(np.array([1.0, 2.0]), 100.0, 0.5, np.full(1, 100.0))
    with pytest.raises(ValueError, match="confidence"):
        BeatMap(np.array([1.0]), 60.0, 1.5, np.array([60.0]))
    assert BeatMap(np.array([1.0]), 60.0, 0.5, np.array([60.0])).steady


def test_tempo_at_each_beat_by_hand():
    # Steps of 0.5, 0.5 and 0.6 s: a beat's tempo is that of the mean of the steps beside it.
    beats = BeatMap.of(np.array([1.0, 1.5, 2.0, 2.6]), 0.7)
    assert beats.tempo == pytest.approx([120.0, 120.0, 60.0 / 0.55, 100.0])
    assert beats.bpm == pytest.approx((120.0 + 60.0 / 0.55) / 2)
    assert len(BeatMap.of(np.array([1.0]), 0.7).beats) == 0


def test_even_beats_of_a_tempo():
    beats = BeatMap.even(Tempo(120.0, 0.2, 0.9), 2.0)
    assert beats.beats == pytest.approx([0.2, 0.7, 1.2, 1.7])
    assert (beats.bpm, beats.confidence, beats.steady) == (120.0, 0.9, True)


def test_seen_from_within_and_beyond():
    beats = BeatMap.of(np.array([1.0, 1.5, 2.0, 2.5, 3.1, 3.7, 4.3]), 0.8)
    inside = beats.seen_from(0.9, 1.2)  # 1.0, 1.5, 2.0
    assert inside is not None
    assert (inside.bpm, inside.first_beat, inside.confidence) == (120.0, pytest.approx(0.1), 0.8)
    later = beats.seen_from(10.0, 5.0)  # 100 bpm goes on from 4.3: 9.7, 10.3
    assert later is not None
    assert (later.bpm, later.first_beat) == (pytest.approx(100.0), pytest.approx(0.3))
    earlier = beats.seen_from(-1.0, 1.5)  # 120 bpm goes back from 1.0: -1.0
    assert earlier is not None
    assert earlier.first_beat % 0.5 == pytest.approx(0.0, abs=1e-9)
    assert BeatMap.none().seen_from(0.0, 5.0) is None


def test_folded_by_hand():
    quick = BeatMap.even(Tempo(170.0, 0.1, 0.9), 3.0)
    halved = quick.folded(71.5, 143.5)
    assert halved.bpm == 85.0
    assert halved.beats == pytest.approx(quick.beats[::2])
    slow = BeatMap.even(Tempo(65.0, 0.1, 0.9), 3.0).folded(71.5, 143.5)
    assert slow.bpm == 130.0
    assert np.diff(slow.beats) == pytest.approx(60.0 / 130.0)
    assert slow.tempo == pytest.approx(130.0)
    assert len(BeatMap.none().folded(71.5, 143.5).beats) == 0
    with pytest.raises(ValueError, match="octave"):
        quick.folded(100.0, 150.0)


def test_beats_of_a_rhythm():
    tempo = Tempo(120.0, 0.2, 0.3)
    plain = Rhythm(np.zeros(101, np.float32), 50.0, np.zeros(0), 2.0, tempo, "stable")
    assert plain.beats.beats == pytest.approx([0.2, 0.7, 1.2, 1.7])
    assert not plain.beats.steady
    mapped = BeatMap.of(np.array([0.5, 1.0]), 0.9)
    assert Rhythm(np.zeros(101, np.float32), 50.0, np.zeros(0), 2.0, tempo, "beats", mapped).beats is mapped
    assert not len(Rhythm(np.zeros(101, np.float32), 50.0, np.zeros(0), 2.0, None, "stable").beats.beats)
