from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import OutputError, PoseFileError
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.pose.track import CameraMotion, Poses, PoseSource, PoseTrack


def poses(camera: bool = True) -> Poses:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.1, 20))
    tracks = tuple(
        PoseTrack(rng.uniform(0, 1, (20, 17, 3)).astype(np.float32), times, (1280, 720), person, "movenet-thunder")
        for person in range(2)
    )
    source = PoseSource("movenet-thunder", "x", (("a", "b"),), "CPU", "decord", (("dancers", "all"),), "0")
    return Poses(tracks, CameraMotion(rng.normal(size=(20, 2, 3)), times) if camera else None, 2.5, source)


@pytest.mark.parametrize("camera", [True, False])
def test_what_is_written_comes_back(tmp_path: Path, camera: bool) -> None:
    before = poses(camera)
    save_poses(tmp_path / "a b ü.pose.npz", before)
    after = load_poses(tmp_path / "a b ü.pose.npz")
    assert after.source == before.source
    assert after.duration == before.duration
    for old, new in zip(before.tracks, after.tracks, strict=True):
        np.testing.assert_array_equal(old.keypoints, new.keypoints)
        np.testing.assert_array_equal(old.times, new.times)
        assert (old.frame_size, old.person, old.model) == (new.frame_size, new.person, new.model)
    assert (after.camera is None) == (before.camera is None)
    if before.camera is not None and after.camera is not None:
        np.testing.assert_array_equal(before.camera.transforms, after.camera.transforms)
    assert [path.name for path in tmp_path.iterdir()] == ["a b ü.pose.npz"]


def test_the_file_holds_no_objects(tmp_path: Path) -> None:
    save_poses(tmp_path / "x.pose.npz", poses())
    with np.load(tmp_path / "x.pose.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiU" for name in file.files)


def test_the_same_poses_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_poses(tmp_path / name, poses())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_junk_is_named(tmp_path: Path) -> None:
    save_poses(tmp_path / "whole", poses())
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise").write_bytes(os.urandom(500))
    (tmp_path / "empty").touch()
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", format=np.array([{}], dtype=object))
    np.savez(tmp_path / "old.npz", format=np.array("d2m-pose 0"))
    np.savez(tmp_path / "lacking.npz", format=np.array("d2m-pose 1"), keypoints=np.zeros((1, 2, 17, 3)))
    for name in ("cut", "noise", "empty", "other.npz", "one.npy", "objects.npz", "old.npz", "lacking.npz", "none"):
        with pytest.raises(PoseFileError, match=name):
            load_poses(tmp_path / name)


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    save_poses(tmp_path / "whole", poses())
    whole, rng = (tmp_path / "whole").read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), 4):
            broken[place] = rng.integers(0, 256)
        (tmp_path / "broken").write_bytes(bytes(broken))
        try:
            load_poses(tmp_path / "broken")
        except PoseFileError:
            continue


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="locked"):
        save_poses(tmp_path / "locked" / "x.pose.npz", poses())


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="taken"):
        save_poses(tmp_path / "taken" / "x.pose.npz", poses())


@pytest.mark.usefixtures("busy_threads")
def test_many_threads_read_at_once(tmp_path: Path) -> None:
    # numpy's own reader fails so on CPython 3.11: it parses headers with what two threads can't run at once.
    save_poses(tmp_path / "x.pose.npz", poses())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_poses(tmp_path / "x.pose.npz").duration, range(100)))
    assert found == [2.5] * 100
