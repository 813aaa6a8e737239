from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import d2m_cli.pose.settings
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.pose import cache as pose_cache
from d2m_cli.pose.cache import PoseCache
from d2m_cli.pose.estimator import PoseOptions
from d2m_cli.pose.io import SUFFIX
from d2m_cli.pose.track import CameraMotion, Poses, PoseSource, PoseTrack


def some_poses(seed: int = 0) -> Poses:
    chance = np.random.default_rng(seed)
    times = np.cumsum(chance.uniform(0.02, 0.04, 20))
    tracks = tuple(
        PoseTrack(chance.uniform(0, 300, (20, 17, 3)).astype(np.float32), times, (320, 240), person, "net")
        for person in range(2)
    )
    camera = CameraMotion(chance.uniform(-1, 1, (20, 2, 3)), times)
    source = PoseSource("net", "finder", (("net", "ab"),), "CPU", "pyav: why", (("camera", "True"),), "1")
    return Poses(tracks, camera, 1.0, source)


def same(one: Poses, other: Poses) -> bool:
    assert one.camera is not None
    assert other.camera is not None
    pairs: list[tuple[np.ndarray, np.ndarray]] = [
        (one.camera.transforms, other.camera.transforms),
        *((a.keypoints, b.keypoints) for a, b in zip(one.tracks, other.tracks, strict=True)),
        *((a.times, b.times) for a, b in zip(one.tracks, other.tracks, strict=True)),
    ]
    return (one.duration, one.source) == (other.duration, other.source) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs
    )


class Estimating:
    """Gives poses, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Poses:
        self.times += 1
        return some_poses()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a dance")
    return path


def test_poses_come_back_to_the_last_bit(video: Path, tmp_path: Path) -> None:
    files, estimate = FileCache(tmp_path / "cache"), Estimating()
    content = content_digest(video)
    first = PoseCache(files, PoseOptions()).poses(video, content, estimate)
    again = PoseCache(files, PoseOptions()).poses(video, content, estimate)
    assert estimate.times == 1
    assert same(first, again)
    # Content is what counts, not the name.
    moved = video.rename(tmp_path / "b.mov")
    PoseCache(files, PoseOptions()).poses(moved, content, estimate)
    assert estimate.times == 1
    assert PoseCache(None, PoseOptions()).poses(moved, content, estimate).duration == 1.0
    assert estimate.times == 2


def test_the_key_holds_all_that_poses_hang_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(content: str = "c", **changes: object) -> str:
        return PoseCache(FileCache(tmp_path), replace(PoseOptions(device="cpu"), **changes)).key(content)  # type: ignore[arg-type]

    plain = key()
    assert (len(plain), plain) == (32, key())
    assert key(threads=3, batch=2, max_frames_in_memory=5) == plain
    # MoveNet has no heat maps, and takes no second look.
    assert key(decoding="quarter", flip_test=True) == plain
    others = [
        key("d"),
        key(dancers="all"),
        key(dancers=2),
        key(device="cuda"),
        key(decoder="pyav"),
        key(longest=320),
        key(detect_longest=256),
        key(camera=False),
    ]
    for name, value in (("__version__", "99"), ("FORMAT", 99), ("code_digest", lambda *_: "other code")):
        with monkeypatch.context() as patch:
            patch.setattr(pose_cache, name, value)
            others.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(d2m_cli.pose.settings, "known_sha256", lambda path, verify: "another network")
        others.append(key())
    assert len({plain, *others}) == 1 + len(others)
    assert key() == plain


@pytest.mark.parametrize("harm", ["cut", "bit", "other"])
def test_what_is_damaged_is_told_and_made_again(harm: str, video: Path, tmp_path: Path) -> None:
    told: list[str] = []
    files, estimate = FileCache(tmp_path / "cache", tell=told.append), Estimating()
    known, content = PoseCache(files, PoseOptions()), content_digest(video)
    known.poses(video, content, estimate)
    path = files.place(known.key(content), SUFFIX)
    whole = path.read_bytes()
    middle = len(whole) // 2
    harmed = {
        "cut": whole[:middle],
        "bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "other": b"[]",
    }
    path.write_bytes(harmed[harm])
    assert same(known.poses(video, content, estimate), some_poses())
    (line,) = told
    assert line.startswith(f"damaged in the cache, and made again: {path}: is not a ")
    assert path.read_bytes() == whole
    known.poses(video, content, estimate)
    assert (estimate.times, len(told)) == (2, 1)


def test_a_video_that_changes_meanwhile_is_not_kept_under_its_old_content(video: Path, tmp_path: Path) -> None:
    files, content = FileCache(tmp_path / "cache"), content_digest(video)

    def change() -> Poses:
        video.write_bytes(b"another dance")
        return some_poses(1)

    def vanish() -> Poses:
        video.unlink()
        return some_poses(2)

    for estimate in (change, vanish):
        assert PoseCache(files, PoseOptions()).poses(video, content, estimate).duration == 1.0
        assert files.use().entries == 0


def test_what_another_process_takes_away_is_no_damage(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    files, estimate = FileCache(tmp_path / "cache", tell=told.append), Estimating()
    known, content = PoseCache(files, PoseOptions()), content_digest(video)
    monkeypatch.setattr(files, "find", files.place)
    known.poses(video, content, estimate)
    assert (estimate.times, told) == (1, [])


def _hammer(folder: Path, video: Path, rounds: int) -> int:
    """Use and damage one cache; how often something came that was not whole, or was told as damaged."""
    told: list[str] = []
    files = FileCache(folder, limit=1, tell=told.append)  # so that each look takes all away
    known, content = PoseCache(files, PoseOptions()), content_digest(video)
    bad = sum(not same(known.poses(video, content, some_poses), some_poses()) for _ in range(rounds))
    return bad + len(told)


def test_processes_that_share_a_cache_see_whole_files(video: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(_hammer, [(tmp_path / "cache", video, 40)] * 2) == [0, 0]
