"""Beats of dances with known ones: the shipped examples, procedural ones, and bodies that do not dance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mir_eval
import numpy as np
import pytest

from d2m_cli.errors import NoPersonError
from d2m_cli.evaluation.rhythm.dance_beats import detect_dance
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Pair
from d2m_cli.evaluation.rhythm.summary import summarise
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from tests.evaluation.sounds import nearest
from tests.rhythm.dances import Dance, arm_hits, bounce_smooth, film, standing

VIDEOS = Path(__file__).parents[3] / "examples" / "videos"
STEMS = [
    "duo_96", "groove_104", "house_120_60fps", "krump_88_24fps", "lock_112", "toprock_132", "waack_124_pan",
]  # fmt: skip


def example(stem: str, jitter: float = 0.0) -> tuple[Poses, np.ndarray, float]:
    """True poses of an example dance with jitter in pixels, its true beats and tempo."""
    truth = json.loads((VIDEOS / f"{stem}.truth.json").read_text(encoding="utf-8"))
    with np.load(VIDEOS / truth["keypoints"], allow_pickle=False) as stored:
        points = stored["tenths"] / 10.0
    points = points + jitter * np.random.default_rng(0).standard_normal(points.shape)
    times = np.arange(points.shape[1]) / truth["fps"]
    tracks = tuple(
        PoseTrack(
            np.concatenate([xy, np.ones((*xy.shape[:2], 1))], 2).astype(np.float32), times, (480, 480), k, "truth"
        )
        for k, xy in enumerate(points)
    )
    return Poses(tracks, None, len(times) / truth["fps"]), np.array(truth["beats"]), float(truth["bpm"])


@pytest.mark.parametrize("jitter", [0.0, 2.0])
def test_beats_of_the_examples(jitter: float) -> None:
    for stem in STEMS:
        poses, beats, _ = example(stem, jitter)
        found = detect_dance(poses).beats
        assert abs(np.median(nearest(beats, found))) < 0.04, stem
        assert mir_eval.beat.f_measure(beats, found) > 0.9, stem


def test_tempo_of_the_examples() -> None:
    for stem in STEMS:
        poses, _, bpm = example(stem)
        assert detect_dance(poses).bpm == pytest.approx(bpm, rel=0.02), stem


def test_music_on_the_beat_is_told_from_chance() -> None:
    pairs = []
    for stem in STEMS:
        poses, beats, _ = example(stem)
        pairs.append(Pair(stem, stem, detect_dance(poses), Detections.at(beats, poses.duration)))
    found = summarise(pairs, draws=40, resamples=500)
    system, floors = found.system, found.floors
    assert system.protocols[4].f1.low > max(floor.protocols[4].f1.high for floor in floors)
    assert system.alignment_reference.low > max(floor.alignment_reference.high for floor in floors)


@pytest.mark.parametrize("jitter", [0.0, 0.005, 0.01, 0.03])
@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_jitter_is_no_dance(jitter: float, fps: float) -> None:
    rest = Dance(standing, np.zeros(0), np.zeros(0), 6.0)
    found = detect_dance(film(rest, fps, jitter=jitter))
    assert len(found.beats) == 0
    assert found.bpm is None
    assert found.remarks


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_a_few_frames(frames: int) -> None:
    keypoints = np.random.default_rng(0).uniform(1, 300, (frames, 17, 3)).astype(np.float32)
    keypoints[..., 2] = 1.0
    poses = Poses((PoseTrack(keypoints, np.arange(frames) / 30, (640, 480), 0, "made up"),), None, frames / 30)
    found = detect_dance(poses)
    assert len(found.beats) <= 1
    assert found.bpm is None


def test_a_body_that_is_not_seen() -> None:
    poses = film(bounce_smooth(), 30.0)
    (track,) = poses.tracks
    hidden = track.keypoints.copy()
    hidden[..., 2] = 0.0
    assert len(detect_dance(replace(poses, tracks=(replace(track, keypoints=hidden),))).beats) == 0


def test_a_dance_without_a_steady_beat_goes_by_its_accents() -> None:
    poses = film(arm_hits(), 30.0)
    (track,) = poses.tracks
    swung = track.times + 0.16 * np.sin(np.pi * track.times) + 0.25 * np.sin(1.7 * track.times)
    swung_poses = replace(poses, tracks=(replace(track, times=swung - swung[0]),))
    accents = extract_rhythm(swung_poses, RhythmOptions("stable")).peaks
    np.testing.assert_array_equal(detect_dance(swung_poses).beats, accents)


def test_one_dancer_of_two() -> None:
    poses, beats, _ = example("duo_96")
    first = detect_dance(poses, "only:0").beats
    np.testing.assert_array_equal(first, detect_dance(replace(poses, tracks=poses.tracks[:1])).beats)
    assert mir_eval.beat.f_measure(beats, first) > 0.9
    with pytest.raises(NoPersonError, match="no dancer 7"):
        detect_dance(poses, "only:7")
