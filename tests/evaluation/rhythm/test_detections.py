"""Events of a clip: all detectors at once, and clips in which nothing can be heard."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from d2m_cli.evaluation.rhythm.detections import DETECTORS, Detections
from d2m_cli.evaluation.rhythm.scores import COLUMNS, score_pair
from tests.evaluation.sounds import bursts, metronome, nearest


def test_every_detector_finds_the_bursts() -> None:
    beats = metronome(115.0, 5.12)
    sound = bursts(beats, 5.12)
    heard = Detections.from_audio(sound, 44100)
    assert heard.seconds == pytest.approx(5.12, abs=1e-4)
    for detector in DETECTORS:
        assert np.abs(nearest(heard.events(detector), beats)).max() < 0.05, detector
    # A rise that falls between two frames is missed by CDCD's windows.
    assert (len(heard.loris_onsets), len(heard.beats)) == (len(beats), len(beats))
    assert len(beats) - 2 <= len(heard.cdcd_onsets) <= len(beats)
    assert heard.bpm == pytest.approx(115.0, rel=0.01)
    assert heard.remarks == ()
    assert repr(heard).startswith("Detections(seconds=5.12, loris_onsets=")


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.5, 1.5, 5.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_warns_and_scores_zero(seconds: float, channels: int) -> None:
    with pytest.warns(UserWarning, match="no onsets found"):
        silent = Detections.from_audio(np.zeros((channels, round(seconds * 44100)), np.float32), 44100)
    assert silent.remarks[0] == "no onsets found"
    music = Detections.at(metronome(120.0, 5.0), 5.0)
    for pair in ((music, silent), (silent, music), (silent, silent)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scores = score_pair(*pair)
        values = dict(zip(COLUMNS, scores.values(), strict=True))
        assert all(values[f"{name}.bhs"] == 0.0 for name in ("paper", "bins5", "loris", "cdcd", "beats70", "beats200"))
        assert values["paper.bcs"] == values["paper.f1"] == values["alignment.reference"] == 0.0
        assert scores.remarks


def test_a_moment_of_music_is_no_beat_but_no_error() -> None:
    with pytest.warns(UserWarning, match=r"1\.00 s are too short for a beat"):
        heard = Detections.from_audio(bursts(np.array([0.2, 0.7]), 1.0), 44100)
    assert len(heard.loris_onsets) == 2
    assert len(heard.beats) == 0
    assert heard.bpm is None


def test_known_events_stand_for_every_detector() -> None:
    times = metronome(90.0, 10.0)
    heard = Detections.at(times, 10.0)
    assert all(heard.events(name) is heard.beats for name in DETECTORS)
    assert heard.bpm == pytest.approx(90.0)
    assert Detections.at(times, 10.0, 45.0).bpm == 45.0


@pytest.mark.parametrize("times", [[1.0, 1.0], [2.0, 1.0], [np.nan], [[1.0]]])
def test_times_must_rise(times: list) -> None:
    with pytest.raises(ValueError, match="must be rising times"):
        Detections.at(np.array(times), 5.0, 100.0)


@pytest.mark.parametrize(("seconds", "bpm"), [(-1.0, 100.0), (np.nan, 100.0), (5.0, 0.0), (5.0, np.inf)])
def test_lengths_and_tempi_must_be_real(seconds: float, bpm: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Detections.at(np.array([1.0]), seconds, bpm)


def test_an_unknown_detector_is_named() -> None:
    with pytest.raises(ValueError, match="no detector 'ears'"):
        Detections.at(np.array([1.0]), 5.0).events("ears")
