"""The stable mode on procedural dances whose accents are known, and on tracks that break."""

from __future__ import annotations

from dataclasses import replace

import mir_eval
import numpy as np
import pytest

from d2m_cli.pose.track import CameraMotion, Poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.motion import local_velocity, stabilise
from d2m_cli.rhythm.stable import JOINT_WEIGHT, arrivals

from .dances import FAMILIES, Dance, bounce_sharp, bounce_smooth, film, groove, steps

STABLE = RhythmOptions("stable")
RATES = (24, 30, 60)
CONDITIONS = {"clean": (0.0, 0.0), "jitter": (0.01, 0.0), "jitter and lost joints": (0.01, 0.15)}


def f_measure(reference: np.ndarray, estimate: np.ndarray, tolerance: float) -> float:
    matches = mir_eval.util.match_events(reference, estimate, tolerance)
    return 2.0 * len(matches) / max(len(reference) + len(estimate), 1)


def inner(dance: Dance, times: np.ndarray) -> np.ndarray:
    return times[(times > 0.1) & (times < dance.seconds - 0.1)]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_peaks_are_the_accents_at_every_frame_rate(family: str, condition: str) -> None:
    dance = FAMILIES[family]()
    jitter, dropped = CONDITIONS[condition]
    peaks = {fps: extract_rhythm(film(dance, fps, jitter, dropped, seed=fps), STABLE).peaks for fps in RATES}
    accents = inner(dance, dance.accents)
    for fps, found in peaks.items():
        matches = mir_eval.util.match_events(accents, found, 0.07)
        assert f_measure(accents, found, 0.07) >= 0.9, fps
        assert len(matches) >= 0.9 * len(found), fps
        late = np.median([found[j] - accents[i] for i, j in matches])
        assert abs(late) < 0.035, fps
    for one, other in ((24, 30), (30, 60), (24, 60)):
        assert f_measure(peaks[one], peaks[other], 0.05) >= 0.9, (one, other)


def test_no_constant_lead_or_lag_over_all_families() -> None:
    late = []
    for make in FAMILIES.values():
        dance = make()
        found = extract_rhythm(film(dance, 30.0, jitter=0.01), STABLE).peaks
        accents = inner(dance, dance.accents)
        late += [found[j] - accents[i] for i, j in mir_eval.util.match_events(accents, found, 0.1)]
    assert abs(np.mean(late)) < 0.008
    assert np.std(late) < 0.02


def test_variable_frame_rate() -> None:
    dance = groove()
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([1 / 60, 1 / 30, 1 / 24], size=360))
    times = times[times < dance.seconds]
    found = extract_rhythm(film(dance, times=times), STABLE).peaks
    assert f_measure(inner(dance, dance.accents), found, 0.07) >= 0.9


def test_body_size_does_not_matter() -> None:
    dance = steps()
    small, large = (extract_rhythm(film(dance, 30.0, torso=size), STABLE).peaks for size in (20.0, 160.0))
    np.testing.assert_allclose(small, large, atol=1e-3)


def moving_camera(poses: Poses) -> Poses:
    """The same dance through a camera that pans, shakes and zooms, with the transforms that undo it."""
    (track,) = poses.tracks
    t = track.times
    zoom = 1.0 + 0.15 * np.sin(2.0 * np.pi * 0.2 * t)
    shift = np.stack([60.0 * np.sin(2.0 * np.pi * 0.7 * t), 25.0 * np.sin(2.0 * np.pi * 1.3 * t)], axis=1)
    shift -= shift[0]
    keypoints = track.keypoints.copy()
    keypoints[..., :2] = zoom[:, None, None] * keypoints[..., :2] + shift[:, None]
    back = np.zeros((len(t), 2, 3))
    back[:, 0, 0] = back[:, 1, 1] = 1.0 / zoom
    back[:, :, 2] = -shift / zoom[:, None]
    return replace(poses, tracks=(replace(track, keypoints=keypoints),), camera=CameraMotion(back, t))


def test_camera_motion_is_taken_out_and_the_bounce_stays() -> None:
    dance = bounce_smooth()
    plain = film(dance, 30.0)
    shaken = moving_camera(plain)
    np.testing.assert_allclose(
        stabilise(shaken.tracks[0], shaken.camera), plain.tracks[0].keypoints[..., :2], atol=2e-3
    )
    accents = inner(dance, dance.accents)
    steady = extract_rhythm(shaken, STABLE).peaks
    assert f_measure(accents, steady, 0.07) >= 0.95
    blurred = extract_rhythm(replace(shaken, camera=None), STABLE).peaks
    assert f_measure(accents, blurred, 0.07) < f_measure(accents, steady, 0.07)


def test_a_gap_of_seconds_makes_no_accents_of_its_own() -> None:
    dance = groove()
    whole = film(dance, 30.0)
    (track,) = whole.tracks
    keypoints = track.keypoints.copy()
    keypoints[(track.times > 4.0) & (track.times < 7.5)] = 0.0
    cut = extract_rhythm(replace(whole, tracks=(replace(track, keypoints=keypoints),)), STABLE)
    assert not np.any((cut.peaks > 4.0) & (cut.peaks < 7.5))
    outside = dance.accents[(dance.accents < 3.9) | (dance.accents > 7.7)]
    assert f_measure(inner(dance, outside), cut.peaks, 0.07) >= 0.9
    # The grid goes on through the gap.
    assert f_measure(dance.beats, cut.beats.beats, 0.07) >= 0.95


def test_a_track_with_missing_frames() -> None:
    dance = bounce_sharp()
    times = np.arange(0.0, dance.seconds, 1 / 30)
    times = times[(times < 5.0) | (times > 8.0)]
    found = extract_rhythm(film(dance, times=times), STABLE).peaks
    assert not np.any((found > 5.0) & (found < 8.0))
    outside = dance.accents[(dance.accents < 4.9) | (dance.accents > 8.1)]
    assert f_measure(inner(dance, outside), found, 0.07) >= 0.9


def test_misplaced_joints_are_ignored() -> None:
    dance = groove()
    poses = film(dance, 30.0)
    (track,) = poses.tracks
    rng = np.random.default_rng(5)
    keypoints = track.keypoints.copy()
    wrong = rng.random(keypoints.shape[:2]) < 0.03
    keypoints[wrong, :2] += rng.choice([-150.0, 150.0], (int(wrong.sum()), 2))
    torn = replace(poses, tracks=(replace(track, keypoints=keypoints.astype(np.float32)),))
    found = extract_rhythm(torn, STABLE).peaks
    assert f_measure(inner(dance, dance.accents), found, 0.07) >= 0.9


def test_two_dancers_agree_and_the_small_one_does_not_rule() -> None:
    lead, other = groove(), groove(bpm=93.0)
    near = film(lead, 30.0, torso=100.0).tracks[0]
    far = replace(film(other, 30.0, torso=15.0).tracks[0], person=1)
    both = extract_rhythm(Poses((near, far), None, lead.seconds), STABLE)
    alone = extract_rhythm(Poses((near, far), None, lead.seconds), RhythmOptions("stable", dancers="largest"))
    second = extract_rhythm(Poses((near, far), None, lead.seconds), RhythmOptions("stable", dancers="only:1"))
    assert f_measure(inner(lead, lead.accents), both.peaks, 0.07) >= 0.85
    assert f_measure(inner(lead, lead.accents), alone.peaks, 0.07) >= 0.95
    assert f_measure(inner(other, other.accents), second.peaks, 0.07) >= 0.95


def test_slope_of_a_parabola_is_exact_at_uneven_times() -> None:
    times = np.array([0.0, 0.02, 0.05, 0.09, 0.11, 0.15, 0.18, 0.2])
    points = np.zeros((8, 1, 2))
    points[:, 0, 0] = 3.0 * times**2 + 2.0 * times
    points[:, 0, 1] = -times
    clock = np.array([0.08, 0.1, 0.12])
    velocity, known = local_velocity(times, points, np.ones((8, 1)), clock, kernel=0.035, spacing=0.029)
    assert known.all()
    np.testing.assert_allclose(velocity[:, 0, 0], 6.0 * clock + 2.0, rtol=1e-6)
    np.testing.assert_allclose(velocity[:, 0, 1], -1.0, rtol=1e-6)


def test_arrivals_of_a_stop_and_of_a_turn() -> None:
    clock = np.arange(300) / 50.0
    known = np.ones(300, dtype=bool)
    kernel = 0.035
    # Moving at 2 torsos a second from 0.5 s until it stops at once at 1.5 s, as a Gaussian kernel sees it.
    from scipy.special import erf

    def step(at: float) -> np.ndarray:
        return np.asarray(0.5 * (1.0 + erf((clock - at) / (kernel * np.sqrt(2.0)))))

    times, strengths = arrivals(2.0 * (step(0.5) - step(1.5)), known, 50.0, kernel, 0.25)
    np.testing.assert_allclose(times, [1.5], atol=0.01)
    # A swing turns back where its speed crosses zero.
    swing = np.sin(2.0 * np.pi * 2.0 * (clock - 0.1))
    times, _ = arrivals(swing, known, 50.0, kernel, 0.25)
    late = (times - 0.1) % 0.5 - 0.25
    assert np.abs(late).max() < 0.03
    assert np.all((strengths > 0.0) & (strengths <= 1.0))


def test_the_head_counts_as_one_and_a_half() -> None:
    assert JOINT_WEIGHT[:5].sum() == pytest.approx(1.5)
