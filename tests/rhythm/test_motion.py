from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from d2m_cli.pose.track import Poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.motion import find_cuts, resample
from tests.rhythm.dances import FAMILIES, film, groove


def other_shot(poses: Poses, at: float, shift: tuple[float, float], zoom: float) -> Poses:
    """The same dance with the camera elsewhere from some time on."""
    (track,) = poses.tracks
    keypoints, centre = track.keypoints.copy(), np.array([320.0, 240.0])
    late = track.times >= at
    keypoints[late, :, :2] = (keypoints[late, :, :2] - centre) * zoom + centre + np.array(shift)
    return replace(poses, tracks=(replace(track, keypoints=keypoints),))


def cuts(poses: Poses) -> list[int]:
    (track,) = poses.tracks
    return find_cuts(track.keypoints[..., :2].astype(float), track.keypoints[..., 2].astype(float), track.times)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("fps", [12.0, 24.0, 30.0, 60.0])
def test_dancing_is_no_cut(name: str, fps: float) -> None:
    assert cuts(film(FAMILIES[name](), fps, jitter=0.02, dropped=0.1)) == []


@pytest.mark.parametrize(("shift", "zoom"), [((150.0, 0.0), 1.0), ((60.0, -60.0), 0.6), ((-80.0, 40.0), 1.6)])
def test_a_cut_is_no_accent_and_velocities_go_on_behind_it(shift: tuple[float, float], zoom: float) -> None:
    # Beats of 116 bpm from 0.31 s on: 5.741 is the middle between two, and frame 172 comes at 5.733 s.
    whole = film(groove(), 30.0, jitter=0.005)
    poses = other_shot(whole, 5.72, shift, zoom)
    assert cuts(poses) == [172]
    stable = RhythmOptions(mode="stable")
    before, after = extract_rhythm(whole, stable).peaks, extract_rhythm(poses, stable).peaks
    assert not np.any(np.abs(after - 5.73) < 0.12)
    kept = [np.abs(after - peak).min() < 0.03 for peak in before if abs(peak - 5.73) > 0.2]
    assert np.mean(kept) > 0.9
    beats = extract_rhythm(poses).beats
    assert beats.steady
    assert beats.bpm == pytest.approx(116.0, rel=0.01)
    # In torso lengths a second, whose size changes with the zoom, the dance is the same.
    there, here = (resample(p.tracks[0], None, 601, 50.0) for p in (whole, poses))
    inner = slice(320, 560)
    assert here.known[inner].all()
    assert np.abs(here.velocity[inner]).mean() == pytest.approx(np.abs(there.velocity[inner]).mean(), rel=0.05)


def test_joints_that_are_misplaced_for_two_frames_or_change_sides_are_no_cut() -> None:
    poses = film(groove(), 30.0)
    (track,) = poses.tracks
    keypoints = track.keypoints.copy()
    keypoints[100:102, :, 0] += 200.0
    assert cuts(replace(poses, tracks=(replace(track, keypoints=keypoints),))) == []
    keypoints = track.keypoints.copy()
    swapped = [0, *(joint for pair in range(1, 17, 2) for joint in (pair + 1, pair))]
    keypoints[100:] = keypoints[100:, swapped]
    assert cuts(replace(poses, tracks=(replace(track, keypoints=keypoints),))) == []


def test_a_short_track_has_no_cuts() -> None:
    assert find_cuts(np.zeros((5, 17, 2)), np.ones((5, 17)), np.arange(5) / 30) == []
