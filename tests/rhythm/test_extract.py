"""The verb: modes, options and inputs that hold little or nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from d2m_cli.errors import InputError, NoPersonError, UsageError
from d2m_cli.inversion.published import PUBLISHED_GRID
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.direction import paper_acceleration, published_acceleration
from d2m_cli.rhythm.extract import MODES, RhythmOptions, at_published_rate, beats_and_halves, extract_rhythm
from d2m_cli.rhythm.peaks import paper_peaks, published_peaks
from d2m_cli.rhythm.sequence import Rhythm

from .dances import Dance, bounce_sharp, film, groove, standing


def track_of(keypoints: np.ndarray, times: np.ndarray) -> Poses:
    track = PoseTrack(keypoints.astype(np.float32), times.astype(np.float64), (640, 480), 0, "made up")
    return Poses((track,), None, float(times[-1]) if len(times) else 0.0)


def extract_strictly(poses: Poses, mode: str) -> Rhythm:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return extract_rhythm(poses, RhythmOptions(mode=mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6])
def test_a_few_frames_have_no_tempo(mode: str, frames: int) -> None:
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0.1, 1.0, (frames, 17, 3)) * [640, 480, 1]
    found = extract_strictly(track_of(keypoints, np.arange(frames) / 30), mode)
    assert found.tempo is None
    assert len(found.envelope) >= 1
    if frames < 3:
        assert len(found.peaks) == 0


@pytest.mark.parametrize("mode", MODES)
def test_motionless(mode: str) -> None:
    still = Dance(standing, np.zeros(0), np.zeros(0), 6.0)
    found = extract_strictly(film(still, 30.0), mode)
    assert len(found.peaks) == 0
    assert found.tempo is None
    assert not found.envelope.any()


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
@pytest.mark.parametrize("jitter", [0.005, 0.01, 0.03])
def test_stable_hears_nothing_in_jitter_alone(fps: float, jitter: float) -> None:
    still = Dance(standing, np.zeros(0), np.zeros(0), 10.0)
    assert len(extract_strictly(film(still, fps, jitter=jitter), "stable").peaks) == 0


def test_stable_with_all_scores_zero() -> None:
    poses = film(groove(seconds=5.0), 30.0)
    (track,) = poses.tracks
    keypoints = track.keypoints.copy()
    keypoints[..., 2] = 0.0
    found = extract_strictly(replace(poses, tracks=(replace(track, keypoints=keypoints),)), "stable")
    assert len(found.peaks) == 0
    assert found.tempo is None


@pytest.mark.parametrize("mode", MODES)
def test_times_that_start_late(mode: str) -> None:
    dance = bounce_sharp(seconds=8.0)
    times = np.arange(2.0, 8.0, 1 / 30)
    found = extract_strictly(film(dance, times=times), mode)
    # Beats go on where nothing is seen yet; accents do not.
    assert (found.peaks.min() < 1.0) == (mode == "beats")
    assert found.peaks.min() >= 2.0 or mode == "beats"
    assert not found.envelope[: int(1.9 * found.rate)].any()
    if mode == "stable":
        late = dance.accents[dance.accents > 2.15]
        assert np.abs(found.peaks[:, None] - late[None]).min(axis=1).max() < 0.05


def test_track_longer_than_the_video_says_it_is() -> None:
    poses = replace(film(bounce_sharp(seconds=6.0), 30.0), duration=5.0)
    found = extract_rhythm(poses)
    assert found.duration >= poses.tracks[0].times[-1]
    assert len(found.envelope) >= found.duration * found.rate


def test_beats_of_a_dance_and_half_beats_that_accents_mark() -> None:
    found = extract_rhythm(film(bounce_sharp(seconds=9.0), 30.0))
    assert found.beats.steady
    assert found.tempo is not None
    assert found.tempo.bpm == pytest.approx(found.beats.bpm, rel=1e-3)
    assert set(found.beats.beats) <= set(found.peaks)
    # By hand: accents at 0.9, 1.28 and 2.02 mark the half beats at 1.25 (30 ms off) and none at 1.75.
    peaks = beats_and_halves(np.array([1.0, 1.5, 2.0]), np.array([0.9, 1.28, 2.02]))
    np.testing.assert_allclose(peaks, [1.0, 1.25, 1.5, 2.0])
    np.testing.assert_allclose(beats_and_halves(np.array([1.0, 1.5]), np.zeros(0)), [1.0, 1.5])


def test_without_a_steady_beat_the_accents_stay() -> None:
    poses = film(bounce_sharp(seconds=9.0), 30.0)
    (track,) = poses.tracks
    # A clock that slows down and hurries by a half, in turns of about two seconds.
    swung = track.times + 0.16 * np.sin(np.pi * track.times) + 0.25 * np.sin(1.7 * track.times)
    poses = replace(poses, tracks=(replace(track, times=swung - swung[0]),))
    accents, found = (extract_rhythm(poses, RhythmOptions(mode)) for mode in ("stable", "beats"))
    assert not found.beats.steady
    np.testing.assert_array_equal(found.peaks, accents.peaks)


def test_five_frames_a_second() -> None:
    found = extract_strictly(film(groove(seconds=3.0), 5.0), "stable")
    assert (found.rate, len(found.envelope)) == (50.0, 151)
    assert np.isfinite(found.envelope).all()


def test_upper_body_alone() -> None:
    poses = film(groove(), 30.0)
    (track,) = poses.tracks
    keypoints = track.keypoints.copy()
    keypoints[:, 11:] = 0.0
    found = extract_strictly(replace(poses, tracks=(replace(track, keypoints=keypoints),)), "stable")
    assert len(found.peaks) >= 15
    assert found.tempo is not None
    assert found.tempo.bpm == pytest.approx(116.0, rel=0.02)


def test_raw_modes_place_their_peaks_at_frames() -> None:
    poses = film(groove(seconds=305 / 60), 60.0)
    points = poses.tracks[0].keypoints[..., :2]
    times = poses.tracks[0].times
    paper = paper_acceleration(points, 6)
    found = extract_rhythm(poses, RhythmOptions("paper", sectors=6, window=0.3))
    np.testing.assert_array_equal(found.peaks, times[1:-1][paper_peaks(paper, times[1:-1], 0.3)])


def test_published_mode_sees_a_clip_of_aist_as_the_published_code_does() -> None:
    poses = film(groove(seconds=305 / 60), 60.0)
    points = poses.tracks[0].keypoints[..., :2]
    index = published_peaks(published_acceleration(points))
    found = extract_rhythm(poses, RhythmOptions("published"))
    np.testing.assert_allclose(found.peaks, poses.tracks[0].times[index], atol=1e-9)
    assert len(index) > 20
    np.testing.assert_array_equal(np.flatnonzero(found.window(0.0, PUBLISHED_GRID)), index)


@pytest.mark.parametrize("start", [0, 1, 60, 200, 411])
def test_published_windows_have_thresholds_of_their_own(start: int) -> None:
    """A window out of a longer dance, with loud passages elsewhere, is that of a clip of these frames alone."""
    poses = film(groove(seconds=14.0), 60.0)
    (track,) = poses.tracks
    keypoints = track.keypoints.copy()
    keypoints[::7, 9, 0] += np.where(np.arange(len(keypoints[::7])) % 2, 0, 300) * (track.times[::7] > 12.0)
    found = extract_rhythm(replace(poses, tracks=(replace(track, keypoints=keypoints),)), RhythmOptions("published"))
    alone = published_peaks(published_acceleration(keypoints[start : start + 305, :, :2]))
    np.testing.assert_array_equal(np.flatnonzero(found.window(start / 60, PUBLISHED_GRID)), alone)


def test_published_peaks_of_a_whole_video_are_those_of_its_clips() -> None:
    found = extract_rhythm(film(groove(seconds=11.0), 60.0), RhythmOptions("published"))
    envelope = found.envelope.astype(np.float64)
    # 5.12 s are 307.2 steps: clips begin at steps 0, 307 and 614.
    clips = [(0, envelope[:307]), (307, envelope[307:614]), (614, envelope[614:-3])]
    expected = np.concatenate([start + published_peaks(clip) for start, clip in clips]) / 60
    np.testing.assert_allclose(found.peaks[found.peaks < 10.8], expected[expected < 10.8], atol=1e-9)


def test_published_windows_over_the_ends_of_a_dance() -> None:
    found = extract_rhythm(film(groove(seconds=8.0), 60.0), RhythmOptions("published"))
    early = found.window(-2.0, PUBLISHED_GRID)
    assert early.shape == (303,)
    assert not early[:120].any()
    assert early[120:].sum() > 10
    assert not found.window(4.0, PUBLISHED_GRID)[241:].any()
    assert not found.window(9.0, PUBLISHED_GRID).any()
    assert not found.window(-9.0, PUBLISHED_GRID).any()


@pytest.mark.parametrize("rate", [24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 120.0])
def test_published_mode_finds_about_as_many_peaks_at_any_frame_rate(rate: float) -> None:
    def per_window(frames: float) -> float:
        dance = extract_rhythm(film(groove(seconds=16.0), frames), RhythmOptions("published"))
        return float(np.mean([dance.window(start, PUBLISHED_GRID).sum() for start in (0.0, 3.0, 6.0, 9.0)]))

    assert per_window(rate) == pytest.approx(per_window(60.0), rel=0.2)


def test_keypoints_between_frames_at_60_hz() -> None:
    """A joint that moves evenly at 24 frames a second is where it was in between, to the tenth of a pixel."""
    points = np.zeros((25, 17, 3), dtype=np.float32)
    points[..., 0] = 10.0 * np.arange(25)[:, None]
    track = PoseTrack(points, 0.5 + np.arange(25) / 24, (640, 480), 0, "model")
    first, found = at_published_rate(track)
    # The first frame is on step 30, the last on step 90; a step is 0.4 frames, or 4 pixels.
    assert (first, found.shape) == (30, (61, 17, 2))
    np.testing.assert_allclose(found[:, 3, 0], 4.0 * np.arange(61), atol=0.1)
    crowded = replace(track, times=0.5 + np.arange(25) / 2000)  # frames that would round to one step
    assert at_published_rate(crowded)[1].shape == (1, 17, 2)
    assert at_published_rate(replace(track, keypoints=points[:1], times=track.times[:1]))[1].shape == (0, 17, 2)


def test_frames_on_the_60_hz_clock_are_taken_as_they_are() -> None:
    poses = film(groove(seconds=4.0), 60.0)
    # As a container with a clock of milliseconds stores them.
    (track,) = poses.tracks
    rounded = replace(track, times=np.round(track.times, 3))
    first, found = at_published_rate(rounded)
    assert first == 0
    np.testing.assert_array_equal(found, track.keypoints[..., :2].astype(np.float64))


def test_an_old_rhythm_of_mode_published_is_not_taken_for_a_new_one() -> None:
    old = Rhythm(np.zeros(501, np.float32), 50.0, np.array([1.0]), 10.0, None, "published")
    with pytest.raises(InputError, match="make it again"):
        old.window(0.0, PUBLISHED_GRID)


def test_envelope_is_on_the_clock_and_scaled() -> None:
    for mode in MODES:
        found = extract_rhythm(film(groove(seconds=6.0), 30.0), RhythmOptions(mode, rate=50.0))
        assert found.rate == (60.0 if mode == "published" else 50.0)
        assert found.mode == mode
        assert len(found.envelope) == 6 * found.rate + 1
        assert found.envelope.max() == pytest.approx(1.0, abs=0.3 if mode != "stable" else 1e-6)


def test_no_such_dancer() -> None:
    with pytest.raises(NoPersonError, match="no dancer 3, only 0"):
        extract_rhythm(film(groove(seconds=2.0), 30.0), RhythmOptions(dancers="only:3"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mode": "best"}, "mode"),
        ({"sectors": 0}, "sectors"),
        ({"window": 0.0}, "window"),
        ({"window": float("nan")}, "window"),
        ({"rate": 0.0}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"dancers": "left"}, "dancers"),
    ],
)
def test_options_check_themselves(options: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=f"^{word} "):
        RhythmOptions(**options)  # type: ignore[arg-type]
