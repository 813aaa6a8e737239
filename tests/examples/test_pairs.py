"""The paired data: dances mark the beat as dancers do, keypoints err as a network does, splits share nothing."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from d2m_cli.pose.io import load_poses
from d2m_cli.pose.track import CameraMotion, Poses, PoseTrack
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm

ROOT = Path(__file__).parents[2]
PLAIN = dict(jitter=0.0, shift=0.0, missed=0.0, off=0.0, stray=0.0)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules under test, forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.syspath_prepend(str(ROOT / "weights" / "recipes"))
    import make_pairs
    from dance import body, further_moves, observer, pairs, phrasing

    yield SimpleNamespace(
        make=make_pairs, body=body, moves=further_moves, observer=observer, pairs=pairs, phrasing=phrasing
    )
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("dance", "make_pairs", "arrange", "render", "make_videos"):
            del sys.modules[name]


def dance_of(recipe: Any, family: str, seed: int, bpm: float = 110.0, seconds: float = 14.0) -> Any:
    split = next(s for s in recipe.pairs.SPLITS if family in recipe.pairs.FAMILIES_OF[s])
    dance = recipe.pairs.paired_dance("x", split, seed, 0, "pop", bpm, 0.4, seconds)
    camera = recipe.pairs.camera_setup("train_00", False).camera
    return replace(dance, parts=((family, 16),), seed=seed, camera=camera, mirror=False)


def test_splits_share_no_family_body_or_camera(recipe: Any) -> None:
    pairs = recipe.pairs
    for table, least in ((pairs.FAMILIES_OF, (8, 2, 2)), (pairs.BODIES_OF, (6, 2, 2)), (pairs.CAMERAS_OF, (40, 4, 4))):
        names = [name for split in pairs.SPLITS for name in table[split]]
        assert len(names) == len(set(names))
        assert all(len(table[split]) >= count for split, count in zip(pairs.SPLITS, least, strict=True))
    assert {n for split in pairs.SPLITS for n in pairs.FAMILIES_OF[split]} == set(recipe.moves.ALL_FAMILIES)
    assert {n for split in pairs.SPLITS for n in pairs.BODIES_OF[split]} == set(recipe.body.SHAPES)
    cameras = [pairs.camera_setup(n, False).camera for split in pairs.SPLITS for n in pairs.CAMERAS_OF[split]]
    assert len({camera.position for camera in cameras}) == len(cameras)
    assert all(abs(np.degrees(np.arctan2(c.position[0], -c.position[1]))) <= 50 for c in cameras)
    seeds = [recipe.make.song_of(split, i).seed for split in ("validation", "test") for i in range(12)]
    assert min(seeds) >= 10_000_000
    assert len(set(seeds)) == len(seeds)
    assert max(recipe.make.song_of("train", i).seed for i in (0, 9999)) < 10_000_000


def test_every_body_has_its_table_and_the_file_is_small(recipe: Any) -> None:
    path = ROOT / "examples" / "dance" / "bodies.npz"
    assert path.stat().st_size < 30_000
    with np.load(path, allow_pickle=False) as stored:
        for name in recipe.body.SHAPES:
            # A keypoint is a mean of skin points, so its weights over the joints sum to 1.
            np.testing.assert_allclose(stored[f"{name}/weights"].sum(1), 1.0, atol=1e-5)
            assert 1.2 < stored[f"{name}/heads"][7, 2] < 2.0


@pytest.mark.parametrize(
    ("kind", "step"),
    [((1, 0, 0, 0, 0), 0.5), ((0, 0, 1, 0, 0), 0.25)],
    ids=["every beat", "twice a beat"],
)
def test_full_passages_mark_the_whole_grid(recipe: Any, kind: tuple[float, ...], step: float) -> None:
    style = recipe.phrasing.Phrasing(**PLAIN, kinds=kind)
    accents = recipe.phrasing.phrase(120.0, 0.2, 10.0, style, np.random.default_rng(0))
    times = np.array([a.time for a in accents if 0 <= a.time < 10])
    on = times[np.isclose((times - 0.2) % 0.5, 0, atol=1e-9) | np.isclose((times - 0.2) % 0.5, 0.5, atol=1e-9)]
    np.testing.assert_allclose(on, np.arange(0.2, 10, 0.5), atol=1e-9)
    # Twice a beat, four in five of the hits between are danced; a whole grid of them would be 40 accents.
    assert len(times) == 20 if step == 0.5 else 30 <= len(times) <= 40
    np.testing.assert_allclose(np.round(times / step - 0.2 / step) * step + 0.2, times, atol=1e-9)
    assert np.array_equal(np.diff([a.count for a in accents]), np.ones(len(accents) - 1))


def test_half_time_leaves_a_beat_between(recipe: Any) -> None:
    style = recipe.phrasing.Phrasing(**PLAIN, kinds=(0, 1, 0, 0, 0))
    times = np.array([a.time for a in recipe.phrasing.phrase(120.0, 0.2, 30.0, style, np.random.default_rng(3))])
    gaps = np.round(np.diff(times) / 0.5).astype(int)
    # Two beats inside a passage; one or three where passages that start on different beats meet.
    assert set(gaps) <= {1, 2, 3}
    assert (gaps == 2).mean() > 0.7


def test_holds_stand_still_for_beats(recipe: Any) -> None:
    style = recipe.phrasing.Phrasing(**PLAIN, kinds=(0, 0, 0, 1, 0))
    times = np.array([a.time for a in recipe.phrasing.phrase(120.0, 0.2, 30.0, style, np.random.default_rng(3))])
    assert set(np.round(np.diff(times) / 0.5).astype(int)) == {1, 3, 4}


def test_timing_is_shifted_and_jittered_as_asked(recipe: Any) -> None:
    style = recipe.phrasing.Phrasing(jitter=0.02, shift=0.015, missed=0.0, off=0.0, stray=0.0, kinds=(1, 0, 0, 0, 0))
    accents = recipe.phrasing.phrase(100.0, 0.3, 600.0, style, np.random.default_rng(1))
    late = (np.array([a.time for a in accents]) - 0.3 + 0.3) % 0.6 - 0.3
    assert abs(late.mean() - 0.015) < 0.002
    assert abs(late.std() - 0.02) < 0.002
    assert np.abs(late - 0.015).max() <= 0.05 + 1e-9


def test_about_three_in_five_beats_are_marked(recipe: Any) -> None:
    shares, closest = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        bpm = float(rng.integers(72, 144))
        style = recipe.phrasing.draw_phrasing(rng)
        assert 0.008 <= style.jitter <= 0.035
        assert abs(style.shift) <= 0.020
        accents = recipe.phrasing.phrase(bpm, 0.1, 18.0, style, rng)
        times = np.array([a.time for a in accents])
        closest.append(np.diff(times).min())
        shares.append(recipe.phrasing.marked_share(times, np.arange(0.1, 18.0, 60 / bpm)))
    assert 0.55 < np.mean(shares) < 0.70
    assert min(closest) >= recipe.phrasing.CLOSEST - 1e-9


def test_marked_share_by_hand(recipe: Any) -> None:
    share = recipe.phrasing.marked_share
    beats = np.array([0.0, 1.0, 2.0, 3.0])
    assert share(np.array([0.05, 1.08, 2.5, 2.94]), beats) == 0.5
    assert share(np.zeros(0), beats) == 0.0


def test_a_mirror_swaps_sides(recipe: Any) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (3, 17, 2))
    seen = recipe.observer.mirrored(points, 100)
    np.testing.assert_allclose(seen[:, 9], np.stack([100 - points[:, 10, 0], points[:, 10, 1]], -1))
    np.testing.assert_allclose(recipe.observer.mirrored(seen, 100), points)


def standing(frames: int) -> np.ndarray:
    """A body that does not move, its torso 100 px long, in a picture of 400 x 400."""
    points = np.tile(np.linspace(150, 250, 17)[:, None], (1, 2))
    points[5:7, 1], points[11:13, 1] = 120, 220
    points[5:7, 0] = points[11:13, 0] = 200
    return np.tile(points, (frames, 1, 1))


def test_jitter_scales_with_the_body_and_persists(recipe: Any) -> None:
    eye = recipe.observer.Observer(slow=0.04, fast=0.0, lost=0, outliers=0, swaps=0, blind=0)
    points = standing(6000)
    error = recipe.observer.observe(points, 50.0, (400, 400), eye, np.random.default_rng(0))[..., :2] - points
    np.testing.assert_allclose(error.std(axis=(0, 2)), 100 * 0.04 * recipe.observer.SPREAD, rtol=0.1)
    wrist = error[:, 9, 0] / error[:, 9, 0].std()
    # Over one frame of 20 ms it falls by exp(-20 / 120), over 120 ms to 1 / e.
    assert abs((wrist[1:] * wrist[:-1]).mean() - np.exp(-1 / 6)) < 0.05
    assert abs((wrist[6:] * wrist[:-6]).mean() - np.exp(-1)) < 0.1
    small = recipe.observer.observe(points / 2, 50.0, (400, 400), eye, np.random.default_rng(0))[..., :2] - points / 2
    np.testing.assert_allclose(small, error / 2)


def test_joints_are_lost_misplaced_and_swapped_for_moments(recipe: Any) -> None:
    still = dict(slow=0.0, fast=0.0, lost=0, outliers=0, swaps=0, blind=0)
    points = standing(3000)
    points[:, 5, 0] += 30

    def seen(**rates: float) -> np.ndarray:
        eye = recipe.observer.Observer(**(still | rates))
        found: np.ndarray = recipe.observer.observe(points, 30.0, (400, 400), eye, np.random.default_rng(4))
        return found

    calm = seen()
    np.testing.assert_array_equal(calm[..., :2], points)
    assert calm[..., 2].min() > 0.25
    lost = seen(lost=1.0)
    # Each of about 100 spells takes one joint for about 5 frames.
    assert 200 < (lost[..., 2] < 0.15).sum() < 900
    moved = np.linalg.norm(seen(outliers=1.0)[..., :2] - points, axis=-1)
    assert 60 < (moved > 0).sum() < 400
    assert moved[moved > 0].min() >= 50
    swapped = seen(swaps=1.0)
    away = (swapped[..., :2] != points).any(-1)
    assert away[:, 5].any()
    np.testing.assert_array_equal(away[:, 5], away[:, 6])
    np.testing.assert_array_equal(swapped[away[:, 5], 5, :2], points[away[:, 5], 6])
    assert (seen(blind=1.0)[..., 2].max(1) < 0.35).any()


def test_joints_outside_the_picture_score_low(recipe: Any) -> None:
    points = standing(50)
    points[:, 15, 1] = 420
    seen = recipe.observer.observe(
        points, 30.0, (400, 400), recipe.observer.Observer(blind=0), np.random.default_rng(0)
    )
    assert seen[:, 15, 2].max() <= 0.25
    assert seen[:, 14, 2].mean() > 0.5


@pytest.mark.parametrize("mirror", [False, True])
def test_camera_motion_carries_far_points_to_the_first_frame(recipe: Any, mirror: bool) -> None:
    # Through a long lens a turn of the camera is nearly a shift of the picture, which an affine map can be.
    camera = recipe.pairs.camera_setup("train_00", False).camera
    camera = replace(camera, focal=4.0 * max(camera.size), pan=0.05, tilt=0.01, shake=0.004)
    times = np.arange(100) / 25.0
    maps = recipe.pairs.camera_motion(camera, times, mirror)
    np.testing.assert_allclose(maps[0], [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    forward = camera.axes(times)[0, 2]
    far = np.array(camera.position) + 1e5 * forward + 3e3 * np.random.default_rng(0).normal(size=(5, 3))
    seen = camera.project(np.tile(far, (100, 1, 1)), times)[..., :2]
    if mirror:
        seen[..., 0] = camera.size[0] - seen[..., 0]
    moved = np.abs(seen - seen[0]).max()
    back = np.einsum("tab,tkb->tka", maps[:, :, :2], seen) + maps[:, None, :, 2]
    assert moved > 10
    assert np.abs(back - seen[0]).max() < 0.02 * moved


def test_a_hand_held_camera_is_unsteady_and_a_still_one_is_not(recipe: Any) -> None:
    still = replace(recipe.pairs.camera_setup("train_00", False).camera, pan=0.0, tilt=0.0, shake=0.0)
    times = np.arange(50) / 25.0
    assert not still.moves
    assert np.ptp(still.axes(times), axis=0).max() == 0
    shaken = replace(still, shake=0.003)
    assert shaken.moves
    swing = np.degrees(np.arccos(np.clip((shaken.axes(times)[:, 2] * still.axes(times)[:, 2]).sum(-1), -1, 1)))
    assert 0.02 < swing.max() < 2


@pytest.mark.slow
def test_every_family_stops_on_its_accents_and_d2m_hears_them(recipe: Any) -> None:
    for family in recipe.moves.ALL_FAMILIES:
        dance = dance_of(recipe, family, 11, seconds=12.0)
        times = dance.times(30)
        points = dance.pixel_keypoints(0, times)
        keypoints = np.concatenate([points, np.full((len(times), 17, 1), 0.9)], -1).astype(np.float32)
        track = PoseTrack(keypoints, times, dance.camera.size, 0, "known")
        moving = CameraMotion(recipe.pairs.camera_motion(dance.camera, times, False), times)
        peaks = extract_rhythm(Poses((track,), moving, dance.seconds), RhythmOptions("stable")).peaks
        near = np.abs(peaks[:, None] - dance.accent_times()).min(1) <= 0.07
        assert near.mean() > 0.6, family
        assert 0.6 < len(peaks) / dance.seconds < 3.0, family


def test_beats_of_the_dance_are_beats_of_the_music(recipe: Any) -> None:
    make = recipe.make
    for split in recipe.pairs.SPLITS:
        for index in range(3):
            song = make.song_of(split, index)
            piece = song.piece()
            clips = make.clips_of(song, piece, 2)
            assert len(clips) == (2 if split == "train" else 1)
            for clip in clips:
                music = clip.start + clip.dance.beats()
                assert np.abs(music[:, None] - piece.beats).min(1).max() < 1e-6
                assert clip.start + clip.dance.seconds <= make.MUSIC_SECONDS[split]
                assert 16 <= clip.dance.seconds <= 20 if split == "train" else clip.dance.seconds == 10.24
            assert len({clip.dance.parts[0][0] for clip in clips}) == len(clips)
            assert len({clip.dance.dancers[0].body for clip in clips}) == len(clips)
            assert len({clip.dance.setup for clip in clips}) == len(clips)


class _Whistle:
    """A stand-in for FluidSynth: a tone as long as the piece."""

    played = 0

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def play(self, piece: Any) -> np.ndarray:
        _Whistle.played += 1
        return 0.1 * np.sin(0.1 * np.arange(int(piece.seconds * self.rate)), dtype=np.float32)


def test_the_script_writes_all_but_pictures_and_goes_on_where_it_stopped(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    player = ModuleType("render")
    player.Player = _Whistle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "render", player)
    monkeypatch.setattr(_Whistle, "played", 0)
    words = ["make_pairs.py", str(tmp_path), "--train-songs", "2", "--validation-songs", "1", "--test-songs", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--first", "0", "--count", "1"])
    recipe.make.main()
    assert _Whistle.played == 3
    first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert len(first) == 2
    monkeypatch.setattr(sys, "argv", words)
    recipe.make.main()
    assert _Whistle.played == 4
    assert {path: path.stat().st_mtime_ns for path in first} == first

    def rows() -> list[dict[str, str]]:
        with (tmp_path / "manifest.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    assert [row["split"] for row in rows()] == ["train"] * 4  # nothing is drawn yet
    for split in ("validation", "test"):
        truth = next((tmp_path / "dances").glob(f"{split}_*.truth.json"))
        truth.with_name(truth.name.replace(".truth.json", ".mp4")).write_bytes(b"drawn")
    recipe.make.main()
    assert [row["split"] for row in rows()] == ["train"] * 4 + ["validation", "test"]
    assert list(rows()[0]) == ["video", "audio", "genre", "start", "song", "split"]
    for row in rows():
        audio = soundfile.info(tmp_path / row["audio"])
        assert (audio.samplerate, audio.channels) == (24000, 1)
        assert audio.duration == (22.0 if row["split"] == "train" else 11.0)
        stem = row["video"].removesuffix(".mp4").removesuffix(".pose.npz")
        truth = json.loads((tmp_path / f"{stem}.truth.json").read_text(encoding="utf-8"))
        period = 60 / truth["bpm"]
        assert abs((truth["beats"][0] + float(row["start"]) + period / 2) % period - period / 2) < 1e-4
        if row["split"] == "train":
            poses = load_poses(tmp_path / row["video"])
            assert float(row["start"]) + poses.duration <= 22.0
            assert 0 < poses.duration - poses.tracks[0].times[-1] < 2 / 23.9
    families = json.loads((tmp_path / "families.json").read_text(encoding="utf-8"))
    assert not set(families["train"]["families"]) & set(families["test"]["families"])


def test_two_runs_write_the_same_keypoints(recipe: Any) -> None:
    song = recipe.make.song_of("train", 5)
    first, second = (recipe.make.clips_of(song, song.piece(), 2)[1].dance for _ in range(2))
    once, again = recipe.pairs.observe_dance(first), recipe.pairs.observe_dance(second)
    np.testing.assert_array_equal(once.keypoints, again.keypoints)
    assert round((len(once.times) - 1) / float(once.times[-1]), 2) in (24.0, 25.0, 29.97, 30.0, 50.0, 60.0)
    other = recipe.pairs.observe_dance(recipe.make.clips_of(song, song.piece(), 2)[0].dance)
    assert once.keypoints.shape != other.keypoints.shape or not np.array_equal(once.keypoints, other.keypoints)


def test_the_quick_renderer_draws_what_the_fine_one_draws(recipe: Any) -> None:
    pytest.importorskip("anny")
    pytest.importorskip("numba")
    from dance import quick_render, render

    factory = recipe.body.BodyFactory()
    dance = replace(dance_of(recipe, "lunge", 1, seconds=1.0), fps=2)
    camera = recipe.pairs.camera_setup("test_0", True).camera
    dance = replace(dance, camera=camera)
    fine = np.stack(list(render.frames(dance, factory))).astype(float)
    quick = np.stack(list(quick_render.frames(dance, factory, quick_render.scenery(dance.seed)))).astype(float)
    assert quick.shape == fine.shape == (2, camera.size[1], camera.size[0], 3)
    # Edges of bricks and boards are rougher; elsewhere the two are alike.
    assert np.median(np.abs(quick - fine)) < 3
    assert np.abs(quick - fine).mean() < 8
