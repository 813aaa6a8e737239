"""The verb: modes, options and inputs that hold little or nothing."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from d2m_cli.errors import NoPersonError
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.direction import paper_acceleration, published_acceleration
from d2m_cli.rhythm.extract import MODES, RhythmOptions, extract_rhythm
from d2m_cli.rhythm.peaks import paper_peaks, published_peaks
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid

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
    assert found.peaks.min() >= 2.0
    assert not found.envelope[: int(1.9 * found.rate)].any()
    if mode == "stable":
        late = dance.accents[dance.accents > 2.15]
        assert np.abs(found.peaks[:, None] - late[None]).min(axis=1).max() < 0.05


def test_track_longer_than_the_video_says_it_is() -> None:
    poses = replace(film(bounce_sharp(seconds=6.0), 30.0), duration=5.0)
    found = extract_rhythm(poses)
    assert found.duration >= poses.tracks[0].times[-1]
    assert len(found.envelope) >= found.duration * found.rate


def test_five_frames_a_second() -> None:
    extract_strictly(film(groove(seconds=3.0), 5.0), "stable")


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
    found = extract_rhythm(poses, RhythmOptions("paper", sectors=6, window_seconds=0.3))
    np.testing.assert_array_equal(found.peaks, times[1:-1][paper_peaks(paper, times[1:-1], 0.3)])
    index = published_peaks(published_acceleration(points))
    found = extract_rhythm(poses, RhythmOptions("published"))
    np.testing.assert_array_equal(found.peaks, times[index])
    # On the clip's own frames the encoder's sequence is the published one.
    sequence = found.window(0.0, RhythmGrid("published", 60.0, 303))
    np.testing.assert_array_equal(np.flatnonzero(sequence), index)


def test_envelope_is_on_the_clock_and_scaled() -> None:
    for mode in MODES:
        found = extract_rhythm(film(groove(seconds=6.0), 30.0), RhythmOptions(mode, rate=50.0))
        assert found.rate == 50.0
        assert found.mode == mode
        assert len(found.envelope) == 301
        assert found.envelope.max() == pytest.approx(1.0, abs=0.3 if mode != "stable" else 1e-6)


def test_no_such_dancer() -> None:
    with pytest.raises(NoPersonError, match="no dancer 3"):
        extract_rhythm(film(groove(seconds=2.0), 30.0), RhythmOptions(dancer=3))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"mode": "best"}, "mode"),
        ({"sectors": 0}, "sectors"),
        ({"window_seconds": 0.0}, "window_seconds"),
        ({"window_seconds": float("nan")}, "window_seconds"),
        ({"rate": 0.0}, "rate"),
        ({"dancer": "left"}, "dancer"),
    ],
)
def test_options_check_themselves(options: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        RhythmOptions(**options)  # type: ignore[arg-type]
