import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.pose.track import PoseTrack
from d2m_cli.rhythm.beat_map import agreement, find_beats
from d2m_cli.rhythm.sequence import BeatMap
from tests.rhythm.dances import bounce_sharp, film, groove, steps

SHARED = Path(os.environ.get("D2M_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "dance"


def lateness(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return found - true[np.abs(found[:, None] - true).argmin(axis=1)]


def track_of(keypoints, times):
    return PoseTrack(keypoints.astype(np.float32), times, (640, 480), 0, "test")


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
@pytest.mark.parametrize(("dance", "bpm"), [(bounce_sharp, 120.0), (steps, 110.0), (groove, 116.0)])
def test_tempo_and_beats_of_procedural_dances(dance, bpm, fps):
    made = dance()
    found = find_beats(film(made, fps, jitter=0.01).tracks[0])
    assert found.bpm == pytest.approx(bpm, rel=0.02)
    assert np.abs(np.median(lateness(found.beats, made.beats))) < 0.07


def test_later_by_as_much_as_the_dance():
    track = film(groove()).tracks[0]
    late = track_of(track.keypoints, track.times + 0.2)
    plain, moved = find_beats(track), find_beats(late)
    assert moved.bpm == pytest.approx(plain.bpm, rel=0.01)
    inner = plain.beats[(plain.beats > 2.0) & (plain.beats < 10.0)]
    assert np.abs(lateness(inner + 0.2, moved.beats)).max() < 0.03


def test_size_does_not_matter():
    small, large = (find_beats(film(groove(), torso=torso).tracks[0]) for torso in (40.0, 160.0))
    assert np.abs(small.beats - large.beats).max() < 0.005


def test_no_beats_where_nobody_dances_long_enough():
    track = film(groove()).tracks[0]
    still = np.repeat(track.keypoints[:1], len(track.times), axis=0)
    assert not len(find_beats(track_of(still, track.times)).beats)
    assert not len(find_beats(track_of(np.zeros_like(track.keypoints), track.times)).beats)
    assert not len(find_beats(track_of(track.keypoints[:90], track.times[:90])).beats)
    assert not len(find_beats(track_of(np.zeros((0, 17, 3)), np.zeros(0))).beats)
    assert not BeatMap.none().steady


def test_moving_by_chance_is_trusted_less_than_dancing():
    rng = np.random.default_rng(3)
    track = film(groove()).tracks[0]
    trusted = []
    for _ in range(5):
        smooth = np.cumsum(rng.normal(0.0, 5.0, (len(track.times), 17, 2)), axis=0)
        keypoints = track.keypoints.copy()
        keypoints[..., :2] = keypoints[:1, :, :2] + smooth - np.linspace(0, 1, len(smooth))[:, None, None] * smooth[-1]
        trusted.append(find_beats(track_of(keypoints, track.times)).confidence)
    assert max(trusted) < 0.5
    assert find_beats(track).confidence > max(trusted)


def test_a_lost_stretch_keeps_one_map():
    made = groove()
    keypoints = film(made).tracks[0].keypoints.copy()
    keypoints[150:200] = 0.0
    found = find_beats(track_of(keypoints, film(made).tracks[0].times))
    assert found.bpm == pytest.approx(116.0, rel=0.02)
    assert np.diff(found.beats) == pytest.approx(60.0 / 116.0, rel=0.02)


def test_a_camera_that_saw_nothing_has_no_say():
    track = film(groove(), jitter=0.01).tracks[0]
    lost = track_of(np.zeros_like(track.keypoints), track.times)
    assert np.array_equal(find_beats([track, lost]).beats, find_beats(track).beats)


def test_several_shots_keep_one_map():
    # At each cut the dancer is suddenly elsewhere, nearer or farther, and mirrored; the dance goes on.
    made = groove(seconds=18.0)
    track = film(made, jitter=0.01).tracks[0]
    keypoints = track.keypoints.copy()
    middle = (track.times > 6.1) & (track.times <= 11.9)
    keypoints[middle, :, 0] = 900.0 - 1.7 * keypoints[middle, :, 0]
    keypoints[middle, :, 1] = 1.7 * keypoints[middle, :, 1] - 150.0
    found = find_beats(track_of(keypoints, track.times))
    assert found.bpm == pytest.approx(116.0, rel=0.02)
    assert np.diff(found.beats) == pytest.approx(60.0 / 116.0, rel=0.02)
    assert np.abs(lateness(found.beats, find_beats(track).beats)).max() < 0.03


def test_weights_of_dancers_by_hand():
    # Two who say the same and one who says otherwise: overlaps of sqrt(1 * 1/2), and of 0.
    same, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    raw = np.array([np.sqrt(0.5) + 0.05, np.sqrt(0.5) + 0.05, 0.05])
    assert agreement([same, same, other]) == pytest.approx(raw / raw.sum())
    assert agreement([same, other]) == pytest.approx([0.5, 0.5])
    assert agreement([same]).tolist() == [1.0]


def test_two_who_agree_outvote_a_third():
    tracks = [film(groove(), seed=seed, jitter=0.01).tracks[0] for seed in (1, 2)]
    other = film(groove(bpm=87.0)).tracks[0]
    found = find_beats([*tracks, other])
    assert found.bpm == pytest.approx(116.0, rel=0.02)


def test_torch_is_not_needed():
    code = (
        "import sys, numpy as np; from d2m_cli.rhythm.beat_map import find_beats; "
        "from tests.rhythm.dances import film, groove; find_beats(film(groove()).tracks[0]); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_tempo_that_changes_is_followed():
    # 16 s at 90 bpm, then 16 s at 120.
    from d2m_cli.rhythm import tempo_map
    from d2m_cli.rhythm.beat_model import PHASES, Lattice

    frequencies = np.arange(60.0, 165.0, 1.5) / 60.0
    true = np.concatenate([np.arange(0.0, 16.0, 60.0 / 90.0), np.arange(16.0, 32.0, 0.5)])
    lattices = []
    for centre in np.arange(4.0, 28.1, 4.0):
        tempo = 1.5 if centre < 16.0 else 2.0
        if centre == 16.0:
            scores = np.zeros((len(frequencies), PHASES))
        else:
            first = true[np.abs(true - centre).argmin()]
            phase = ((first - centre) * tempo) % 1.0
            off = (np.arange(PHASES) / PHASES - phase + 0.5) % 1.0 - 0.5
            scores = 12.0 * np.exp(-0.5 * ((frequencies[:, None] - tempo) / 0.03) ** 2 - 0.5 * (off / 0.05) ** 2)
        lattices.append(Lattice(scores, frequencies, centre, 8.0))
    flat = np.zeros(len(frequencies))
    score, path, phases = tempo_map.best_path(lattices, flat)
    assert path[:3] == pytest.approx(1.5, abs=0.01)
    assert path[-3:] == pytest.approx(2.0, abs=0.01)
    assert score > tempo_map.even_score(lattices, flat, 1.5, 0.0) + 2 * tempo_map.MARGIN
    beats = tempo_map.beats_along(lattices, path, phases, 32.0)
    early, late = beats[beats < 12.0], beats[beats > 20.0]
    assert np.abs(lateness(early, true)).max() < 0.05
    assert np.abs(lateness(late, true)).max() < 0.05


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real dances are not at {SHARED}")
def test_real_dances_with_runs_that_are_not_numbers():
    with np.load(SHARED / "gBR_sBM_cAll_d04_mBR0_ch10.npz") as stored:
        keypoints, times = stored["keypoints"][0].copy(), stored["times"].astype(np.float64)
    assert np.isnan(keypoints).any()
    good = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    seen = np.where(good, keypoints, 0.0)
    seen[..., 2] = np.clip(seen[..., 2], 0.0, 1.0)
    found = find_beats(track_of(seen, times))
    assert np.isfinite(found.beats).all()
    assert len(found.beats) > 5
