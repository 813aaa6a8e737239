from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import OutputError, PoseFileError
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.pose.track import CameraMotion, Poses, PoseSource, PoseTrack

Damage = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


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
            read = load_poses(tmp_path / "broken")
        except PoseFileError:
            continue
        # The checksums of the archive leave only what says nothing of the poses.
        np.testing.assert_array_equal(read.tracks[0].keypoints, poses().tracks[0].keypoints)


def arrays(tmp_path: Path) -> dict[str, Any]:
    save_poses(tmp_path / "whole.pose.npz", poses())
    with np.load(tmp_path / "whole.pose.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def at(array: np.ndarray, index: Any, value: Any) -> np.ndarray:
    """A copy with another value at a place."""
    changed = array.copy()
    changed[index] = value
    return changed


def about(**changes: Any) -> Damage:
    return lambda whole: {"about": np.array(json.dumps(json.loads(str(whole["about"])) | changes))}


@pytest.mark.parametrize(
    "damage",
    [
        lambda w: {"times": w["times"] * np.nan},
        lambda w: {"times": at(w["times"], 3, np.nan)},
        lambda w: {"times": at(w["times"], -1, np.inf)},
        lambda w: {"times": w["times"][::-1]},
        lambda w: {"times": at(w["times"], 3, w["times"][2])},
        lambda w: {"times": w["times"] - 100.0},
        lambda w: {"times": w["times"] + 1e12},
        lambda w: {"times": w["times"] + 3600.0},
        lambda w: {"times": at(w["times"], -1, 20 * 86400.0)},
        lambda w: {"times": at(w["times"], -1, 700.0)},
        lambda w: {"times": w["times"][:-1]},
        lambda w: {"times": w["times"].astype("U5")},
        lambda w: {"times": w["times"][None]},
        lambda w: {"times": w["times"].astype(complex)},
        lambda w: {"times": np.array(1.0)},
        lambda w: {"keypoints": at(w["keypoints"], (0, 4), np.nan)},
        lambda w: {"keypoints": at(w["keypoints"], (0, 4), 1e30)},
        lambda w: {"keypoints": w["keypoints"].astype(np.float64) * 1e300},
        lambda w: {"keypoints": w["keypoints"].astype("U3")},
        lambda w: {"keypoints": w["keypoints"] > 0.5},
        lambda w: {"keypoints": w["keypoints"][:0]},
        lambda w: {"keypoints": w["keypoints"][:, :, :16]},
        lambda w: {"keypoints": w["keypoints"][:, :, :, :2]},
        lambda w: {"keypoints": w["keypoints"][0]},
        lambda w: {"keypoints": w["keypoints"][:, :0], "times": w["times"][:0], "camera": w["camera"][:0]},
        lambda w: {"frame_size": np.array([-1280, 720])},
        lambda w: {"frame_size": np.array([0, 720])},
        lambda w: {"frame_size": np.array([1 << 40, 720])},
        lambda w: {"frame_size": np.array([1280])},
        lambda w: {"frame_size": np.array([np.nan, 720.0])},
        lambda w: {"persons": np.array([1, 1])},
        lambda w: {"persons": np.array([-1, 1])},
        lambda w: {"persons": np.array([0])},
        lambda w: {"duration": np.array(np.nan)},
        lambda w: {"duration": np.array(-1.0)},
        lambda w: {"duration": np.array(3e8)},
        lambda w: {"duration": np.array(80_000.0)},
        lambda w: {"duration": np.array([1.0, 2.0])},
        lambda w: {"duration": np.array("long")},
        lambda w: {"camera": w["camera"] * np.nan},
        lambda w: {"camera": w["camera"] * 1e200},
        lambda w: {"camera": w["camera"][:, :, :2]},
        lambda w: {"joints": w["joints"][::-1]},
        lambda w: {"about": np.array("[]")},
        lambda w: {"about": np.array("null")},
        lambda w: {"about": np.array("{")},
        lambda w: {"about": np.array("[" * 100_000)},
        lambda w: {"about": np.array(3.0)},
        about(model=None),
        about(model="a\x1b[2J"),
        about(source=[1]),
        about(source={"model": "x"}),
        about(source="text"),
    ],
)
def test_damaged_values_are_refused_by_name(tmp_path: Path, damage: Damage) -> None:
    whole = arrays(tmp_path)
    load_poses(tmp_path / "whole.pose.npz")
    np.savez(tmp_path / "odd.pose.npz", **(whole | damage(whole)))
    with pytest.raises(PoseFileError, match=r"odd\.pose\.npz"):
        load_poses(tmp_path / "odd.pose.npz")


@pytest.mark.parametrize("name", ["keypoints", "times", "frame_size", "persons", "duration", "about"])
def test_missing_arrays_are_named(tmp_path: Path, name: str) -> None:
    whole = arrays(tmp_path)
    del whole[name]
    np.savez(tmp_path / "odd.pose.npz", **whole)
    with pytest.raises(PoseFileError, match=rf"odd\.pose\.npz.*holds no {name}"):
        load_poses(tmp_path / "odd.pose.npz")


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.pose.io.LARGEST", 15_000)
    with pytest.raises(PoseFileError, match=r"x\.pose\.npz: 20 pictures of 2 dancers"):
        save_poses(tmp_path / "x.pose.npz", poses())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["flip", "nan_times"])
def test_the_development_datas_damaged_files(shared: Callable[[str], Path], name: str) -> None:
    with pytest.raises(PoseFileError, match=name):
        load_poses(shared(f"damaged/{name}.pose.npz"))


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
