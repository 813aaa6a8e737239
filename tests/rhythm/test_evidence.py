import numpy as np
import pytest

from d2m_cli.pose.track import PoseTrack
from d2m_cli.rhythm.evidence import CURVES, RATE, beat_evidence, group_curves
from tests.rhythm.dances import film, groove, steps


def track_of(keypoints, times):
    return PoseTrack(keypoints.astype(np.float32), times, (640, 480), 0, "test")


def agreement(a, b):
    n = min(len(a), len(b))
    inner = slice(25, n - 25)
    return np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1]


def test_curves_of_one_joint_by_hand():
    # Downwards at 2 torso lengths a second, and from the middle on at rest.
    velocity = np.zeros((20, 1, 2))
    velocity[:10, 0, 1] = 2.0
    curves, seen = group_curves(velocity, np.ones((20, 1), dtype=bool))
    assert curves[5] == pytest.approx([2.0, 0.0, 0.0, 2.0])
    # The fall of 2 in one step shows as half in each of the two steps beside it, times 50 steps a second.
    assert curves[9] == pytest.approx([2.0, 50.0, 50.0, 2.0])
    assert curves[10] == pytest.approx([0.0, 50.0, 50.0, 0.0])
    assert seen.tolist() == [1.0] * 20


@pytest.mark.parametrize("dance", [groove, steps])
def test_blind_to_size_place_and_side(dance):
    track = film(dance()).tracks[0]
    plain = beat_evidence(track).values
    assert plain.shape[1] == len(CURVES)
    moved = track.keypoints.copy()
    moved[..., :2] = 3.0 * moved[..., :2] + [100.0, -40.0]
    assert np.abs(beat_evidence(track_of(moved, track.times)).values - plain).max() < 0.02
    mirror = track.keypoints.copy()
    mirror[..., 0] = 640.0 - mirror[..., 0]
    mirror[:, 1:] = mirror[:, [2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
    assert np.abs(beat_evidence(track_of(mirror, track.times)).values - plain).max() < 0.02


@pytest.mark.parametrize("fps", [24.0, 25.0, 60.0])
def test_frame_rate_hardly_matters(fps):
    at_30, other = (beat_evidence(film(groove(), rate).tracks[0]).values for rate in (30.0, fps))
    assert agreement(at_30, other) > 0.97


def test_unseen_stretch_says_nothing_and_the_rest_is_kept():
    track = film(groove()).tracks[0]
    keypoints = track.keypoints.copy()
    keypoints[120:180] = 0.0
    whole, part = beat_evidence(track), beat_evidence(track_of(keypoints, track.times))
    lost = slice(round(4.2 * RATE), round(5.8 * RATE))
    assert not part.values[lost].any()
    assert not part.known[lost].any()
    assert agreement(whole.values[:180], part.values[:180]) > 0.95


def test_lost_feet_leave_their_curves_empty():
    track = film(steps()).tracks[0]
    keypoints = track.keypoints.copy()
    keypoints[:, 15:, 2] = 0.0
    part = beat_evidence(track_of(keypoints, track.times)).values
    feet = [name.startswith("feet") for name in CURVES]
    assert not part[:, feet].any()
    assert part[:, ~np.array(feet)].any()


def test_a_body_at_rest_does_not_move_under_jitter():
    rng = np.random.default_rng(0)
    still = np.repeat(film(groove()).tracks[0].keypoints[:1], 300, axis=0)
    still[..., :2] += rng.normal(0.0, 0.5, still[..., :2].shape)
    assert beat_evidence(track_of(still, np.arange(300) / 30.0)).moved < 0.1
    assert beat_evidence(film(groove()).tracks[0]).moved > 0.3


def test_too_few_frames_are_no_evidence():
    assert beat_evidence(track_of(np.zeros((0, 17, 3)), np.zeros(0))).values.shape == (0, len(CURVES))
    assert not beat_evidence(track_of(np.ones((2, 17, 3)), np.array([0.0, 1.0]))).values.any()
