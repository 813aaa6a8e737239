"""Made-up dancers, detected frame by frame: the tracks must keep who is who."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.pose.movenet import Detections
from d2m_cli.pose.selection import choose, dense_boxes, dense_joints, fill_gaps
from d2m_cli.pose.tracking import Track, Tracker, colour_likeness, join_pieces, patch_colours

FPS = 15.0
STANDING = np.array(
    [[0, -80], [3, -83], [-3, -83], [7, -80], [-7, -80], [18, -60], [-18, -60], [25, -35], [-25, -35], [28, -12],
     [-28, -12], [12, 0], [-12, 0], [13, 35], [-13, 35], [13, 70], [-13, 70]], float,
)  # fmt: skip
RED, BLUE = (200, 30, 30), (30, 30, 200)


def person(x: float, y: float = 100, phase: float = 0.0) -> np.ndarray:
    """Joints (17, 3) of somebody who swings arms and legs while walking."""
    joints = STANDING + np.array([x, y])
    joints[7:11, 0] += 12 * np.sin(phase)
    joints[13:17, 0] += 10 * np.cos(phase)
    return np.column_stack([joints, np.full(17, 0.8)])


def seen(poses: list[np.ndarray], scores: list[float] | None = None) -> Detections:
    boxes = [np.concatenate([pose[:, :2].min(axis=0) - 5, pose[:, :2].max(axis=0) + 5]) for pose in poses]
    count = len(poses)
    return Detections(
        np.array(boxes).reshape(count, 4),
        np.array(scores if scores else [0.5] * count),
        np.array(poses).reshape(count, 17, 3),
    )


def paint(poses: list[np.ndarray], colours: list[tuple[int, int, int]]) -> np.ndarray:
    """A picture with a coloured body for each pose; later ones lie in front."""
    picture = np.full((200, 640, 3), 120, np.uint8)
    for pose, colour in zip(poses, colours, strict=True):
        x0, x1 = int(pose[[5, 6], 0].min()) - 2, int(pose[[5, 6], 0].max()) + 2
        picture[int(pose[5, 1]) : int(pose[13, 1]), max(0, x0) : max(0, x1)] = colour
    return picture


def crossing(tracker: Tracker, *, colours: bool, hidden: float = 0.0, bounce: bool = False) -> dict[int, list[float]]:
    """Two people walk towards each other; returns where each detection really was, by frame."""
    truth = {}
    for frame in range(91):
        share = frame / 90
        left, right = 100 + 440 * share, 540 - 440 * share
        if bounce and share > 0.5:
            left, right = right, left
        pair = [person(left, phase=frame / 3), person(right, 103, phase=1 + frame / 4)]
        truth[frame] = [left, right]
        picture = paint(pair, [RED, BLUE]) if colours else None
        # In front is the second one; the first is not detected while they overlap by so much.
        shown = pair[1:] if abs(left - right) < hidden else pair
        tracker.add(frame, frame / FPS, seen(shown), picture)
    return truth


def wandered(track: Track, truth: dict[int, list[float]]) -> float:
    """Share of a track's frames where it follows the person that it began with."""
    middles = [(box[0] + box[2]) / 2 for box in track.boxes]
    first = int(np.argmin(np.abs(np.array(truth[track.frames[0]]) - middles[0])))
    near = [abs(truth[frame][first] - middle) < 12 for frame, middle in zip(track.frames, middles, strict=True)]
    return float(np.mean(near))


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("hidden", [0.0, 40.0])
def test_two_who_cross_keep_their_tracks(colours: bool, hidden: float) -> None:
    tracker = Tracker()
    truth = crossing(tracker, colours=colours, hidden=hidden)
    tracks = tracker.finish()
    assert len(tracks) == 2
    assert all(wandered(track, truth) > 0.97 for track in tracks)


def test_two_who_meet_and_turn_back_are_told_apart_by_their_clothes() -> None:
    tracker = Tracker()
    truth = crossing(tracker, colours=True, hidden=40.0, bounce=True)
    tracks = tracker.finish()
    assert len(tracks) == 2
    assert all(wandered(track, truth) > 0.97 for track in tracks)


def test_a_dancer_who_leaves_and_comes_back_is_one_track() -> None:
    tracker = Tracker()
    for frame in range(120):
        gone = 40 <= frame < 90  # over three seconds: longer than a track waits
        pose = [person(200)]
        tracker.add(frame, frame / FPS, seen([] if gone else pose), paint(pose, [RED]))
    tracks = tracker.finish()
    assert len(tracks) == 1
    assert len(tracks[0].frames) == 70


def test_somebody_else_in_the_same_place_is_another_track() -> None:
    tracker = Tracker()
    for frame in range(120):
        gone = 40 <= frame < 90
        pose = [person(200 if frame < 60 else 260)]
        tracker.add(frame, frame / FPS, seen([] if gone else pose), paint(pose, [RED if frame < 60 else BLUE]))
    assert len(tracker.finish()) == 2


def test_doubtful_detections_go_on_with_a_track_but_start_none() -> None:
    tracker = Tracker()
    for frame in range(20):
        score = 0.5 if frame < 10 else 0.12
        tracker.add(frame, frame / FPS, seen([person(200), person(450)], [score, 0.12]))
    tracks = tracker.finish()
    assert [len(track.frames) for track in tracks] == [20]


def test_colour_of_the_chest() -> None:
    pose = person(200)
    colours = patch_colours(paint([pose], [RED]), seen([pose]))
    # CIE Lab of sRGB (200, 30, 30).
    np.testing.assert_allclose(colours[0, 0], [43.22, 63.04, 45.22], atol=0.2)
    assert colour_likeness(colours[0], colours)[0] == pytest.approx(1.0)
    assert np.isnan(colour_likeness(np.full((2, 3), np.nan), colours)[0])


def test_no_tracks_join_to_none() -> None:
    assert join_pieces([]) == []


def track_of(frames: list[int], size: float, score: float = 0.5) -> Track:
    track = Track()
    for frame in frames:
        track.frames.append(frame)
        track.times.append(frame / FPS)
        track.boxes.append(np.array([0, 0, size, 2 * size]))
        track.keypoints.append(person(size / 2))
        track.scores.append(score)
    return track


def test_who_is_chosen() -> None:
    large, small, thing = track_of(list(range(60)), 100), track_of(list(range(60)), 40), track_of([1, 2], 30, 0.1)
    tracks = [large, small, thing]
    assert choose(tracks, "largest", 4.0) == [large]
    assert choose(tracks, "all", 4.0) == [large, small]
    assert choose(tracks, 5, 4.0) == [large, small]
    assert choose([thing], "all", 4.0) == []


def test_boxes_between_detections() -> None:
    times = np.arange(100) / 30
    track = track_of([0, 4, 8, 80, 84], 50)
    track.times = [float(times[frame]) for frame in track.frames]
    boxes = dense_boxes(track, times, step=4)
    present = np.isfinite(boxes[:, 0])
    # The gap from 8 to 80 is longer than is bridged; the ends reach on by less than a step.
    assert np.flatnonzero(present).tolist() == [*range(12), *range(77, 88)]
    np.testing.assert_allclose(boxes[present], np.tile([0.0, 0, 50, 100], (23, 1)), atol=1e-9)
    joints = dense_joints(track, times)
    assert joints is not None
    assert joints.shape == (100, 17, 3)


def test_gaps_are_filled_without_a_score() -> None:
    joints = np.full((5, 17, 3), np.nan)
    joints[0], joints[4] = 0.5, 4.5
    filled = fill_gaps(joints, np.array([True, False, False, False, True]))
    np.testing.assert_allclose(filled[2, :, :2], 2.5)
    np.testing.assert_array_equal(filled[1:4, :, 2], 0)
    assert filled.dtype == np.float32
