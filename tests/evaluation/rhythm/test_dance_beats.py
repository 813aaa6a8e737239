"""Kinematic beats of dances with known ones: the shipped examples, procedural ones, and bodies that do not dance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mir_eval
import numpy as np
import pytest

from d2m_cli.errors import NoPersonError
from d2m_cli.evaluation.rhythm.dance_beats import detect_dance, kinematic_beats, lowest, stops
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import Pair, beat_alignment
from d2m_cli.evaluation.rhythm.summary import summarise
from d2m_cli.pose.track import CameraMotion, Poses, PoseTrack
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
def test_stops_of_the_examples_lie_on_their_beats(jitter: float) -> None:
    scores, aligned = [], []
    for stem in STEMS:
        poses, beats, _ = example(stem, jitter)
        found = kinematic_beats(poses)
        assert abs(np.median(nearest(beats, found))) < 0.04, stem
        scores.append(mir_eval.beat.f_measure(beats, found))
        aligned.append(beat_alignment(found, beats))
    assert np.mean(scores) > 0.85
    assert np.mean(aligned) > 0.8


def test_minima_of_the_examples_come_late() -> None:
    late = [
        float(np.median(nearest(beats, kinematic_beats(poses, dating="minimum"))))
        for poses, beats, _ in map(example, STEMS)
    ]
    assert np.mean(late) == pytest.approx(-0.17, abs=0.03)  # the beat is before the minimum


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


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
def test_arm_hits_at_any_frame_rate(fps: float) -> None:
    dance = arm_hits()
    found = kinematic_beats(film(dance, fps))
    assert mir_eval.beat.f_measure(dance.accents, found) > 0.9
    assert np.abs(nearest(found, dance.accents)).max() < 0.06


def test_a_pendulum_turns_at_its_ends() -> None:
    # Everything swings as sin(pi t): speed |cos(pi t)| is least at 0.5, 1.5, 2.5, ... s, and half at a sixth earlier.
    times = np.arange(0.0, 8.0, 1 / 50)
    points = np.repeat(standing(np.zeros(1)) * 100 + 200, len(times), axis=0)
    points[..., 0] += 80 * np.sin(np.pi * times)[:, None]
    keypoints = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2).astype(np.float32)
    poses = Poses((PoseTrack(keypoints, times, (640, 480), 0, "made up"),), None, 8.0)
    ends = np.arange(0.5, 8.0)
    assert kinematic_beats(poses, dating="minimum") == pytest.approx(ends, abs=0.01)
    assert kinematic_beats(poses) == pytest.approx(ends - 1 / 6, abs=0.06)


def test_a_moving_camera_is_taken_out() -> None:
    still = film(arm_hits(), 30.0)
    (track,) = still.tracks
    shift = 60 * np.sin(2 * np.pi * 0.9 * track.times)
    moved = track.keypoints.copy()
    moved[..., 0] += shift[:, None]
    transforms = np.tile(np.eye(2, 3), (len(shift), 1, 1))
    transforms[:, 0, 2] = -shift
    shaken = Poses((replace(track, keypoints=moved),), CameraMotion(transforms, track.times), still.duration)
    assert kinematic_beats(shaken) == pytest.approx(kinematic_beats(still), abs=0.005)
    assert len(kinematic_beats(replace(shaken, camera=None))) != len(kinematic_beats(still))


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
    for dating in ("stop", "minimum"):
        assert len(kinematic_beats(poses, dating=dating)) <= 1
    assert detect_dance(poses).bpm is None


def test_a_body_that_is_not_seen() -> None:
    poses = film(bounce_smooth(), 30.0)
    (track,) = poses.tracks
    hidden = track.keypoints.copy()
    hidden[..., 2] = 0.0
    assert len(kinematic_beats(replace(poses, tracks=(replace(track, keypoints=hidden),)))) == 0
    # Half of the time unseen: no beats there.
    hidden = track.keypoints.copy()
    hidden[(track.times > 4) & (track.times < 9), :, 2] = 0.0
    found = kinematic_beats(replace(poses, tracks=(replace(track, keypoints=hidden),)))
    assert len(found) > 10
    assert not ((found > 4.3) & (found < 8.7)).any()


def test_one_dancer_of_two() -> None:
    poses, _, _ = example("duo_96")
    first, both = kinematic_beats(poses, "only:0"), kinematic_beats(poses)
    assert first == pytest.approx(kinematic_beats(replace(poses, tracks=poses.tracks[:1])))
    assert len(both)
    with pytest.raises(NoPersonError, match="no dancer 7"):
        kinematic_beats(poses, "only:7")
    with pytest.raises(ValueError, match="dating must be one of stop, minimum"):
        kinematic_beats(poses, dating="middle")


def test_dating_by_hand() -> None:
    # Down from 10 at step 4 to 0 at step 8 and up again: half of the fall is lost at step 6, the lowest is step 8.
    speed = np.array([6.0, 7.0, 8.0, 9.0, 10.0, 7.5, 5.0, 2.5, 0.0, 2.5, 5.0])
    dips = np.array([8])
    assert stops(speed, dips) == pytest.approx([6.0])
    assert lowest(speed, dips) == pytest.approx([8.0])
    # Slower on the way up: the parabola leans that way, by (2.5 - 1.5) / (2.5 + 1.5) / 2.
    assert lowest(np.where(np.arange(11) == 9, 1.5, speed), dips) == pytest.approx([8.125])
