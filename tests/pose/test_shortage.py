"""Pose networks where memory runs out, on a stand-in for a GPU: the real networks, computed on the CPU."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import d2m_cli.pose.session as session_module
from d2m_cli.app import app
from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
from d2m_cli.pose.session import CUDA, OnnxModel
from d2m_cli.pose.weights import pose_weights

VIDEO = Path(__file__).parents[2] / "examples" / "videos" / "lock_112.mp4"
NO_MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
    "bfc_arena.cc AllocateRawInternal Failed to allocate memory for requested buffer of size 1207959552"
)


class Gpu:
    """What sessions on it are opened and run: as many rows at once as there is room for."""

    def __init__(self) -> None:
        self.room, self.room_for_networks = 1 << 30, True
        self.open: weakref.WeakSet[Any] = weakref.WeakSet()
        self.tried: list[int] = []
        self.guard = threading.Lock()


class OnGpu:
    """A session that says it runs under CUDA."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def get_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    here, real = Gpu(), session_module._open

    def opened(path: Path, device: str, threads: int) -> Any:
        if not here.room_for_networks:
            raise MemoryError(f"{path}: there is no memory for this network")
        session = OnGpu(real(path, "cpu", 1))
        here.open.add(session)
        return session

    class Bound:
        def __init__(self, session: Any, device: str, number: int) -> None:
            self.session, self.shape = session, None

        def __call__(self, outputs: None, given: dict[str, Any]) -> Any:
            (rows,) = given.values()
            assert self.shape in (None, rows.shape), "CUDA plans all anew for another shape"
            self.shape = rows.shape
            with here.guard:
                here.tried.append(len(rows))
            if len(rows) > here.room:
                raise RuntimeError(NO_MEMORY)
            return self.session.run(outputs, given)

    monkeypatch.setattr(session_module, "_open", opened)
    monkeypatch.setattr(session_module, "Bound", Bound)
    return here


def thunder(**named: Any) -> OnnxModel:
    return OnnxModel(pose_weights("movenet-thunder"), **named)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)


def test_batches_are_halved_where_memory_runs_out_and_that_is_said(gpu: Gpu) -> None:
    told: list[str] = []
    model = thunder(on_gpu=16, tell=told.append)
    gpu.room = 5
    found = model(crops(10))
    # 10 crops, in batches of four, the last of them padded.
    assert gpu.tried == [16, 8, 4, 4, 4]
    expected = thunder(batch=4)(crops(10))
    assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]
    assert model.batch == 4
    says = "memory ran out while movenet-thunder looked for poses: it is shown"
    assert told == [f"{says} 8 pictures at a time from now on", f"{says} 4 pictures at a time from now on"]
    # It stays so; and what larger batches held is given back.
    gpu.tried.clear()
    model(crops(3))
    assert gpu.tried == [4]
    del expected
    gc.collect()
    assert len(gpu.open) == 1
    gpu.room = 1
    model(crops(2))
    assert told[2:] == [f"{says} 2 pictures at a time from now on", f"{says} 1 picture at a time from now on"]


def test_what_does_not_fit_at_all_is_told_by_the_error(gpu: Gpu) -> None:
    told: list[str] = []
    model = thunder(on_gpu=2, tell=told.append)
    gpu.room = 0
    with pytest.raises(RuntimeError, match="Failed to allocate memory"):
        model(crops(2))
    assert gpu.tried == [2, 1]
    # No room for the network itself is no other error.
    gpu.room, gpu.room_for_networks = 1, False
    with pytest.raises(MemoryError):
        thunder()


def test_other_errors_and_networks_of_one_size_halve_nothing(gpu: Gpu, heat_model: Any) -> None:
    model = thunder(on_gpu=4)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        model(crops(4).astype(np.float32))
    assert model.batch == 4
    gpu.room = 1
    fixed = OnnxModel(heat_model(np.zeros((17, 4, 4), np.float32), batch=2))
    with pytest.raises(RuntimeError, match="Failed to allocate memory"):
        fixed(np.zeros((2, 3, 256, 192), np.float32))
    assert fixed.batch == 2


def test_batches_that_fail_side_by_side_are_halved_once(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    model = thunder(on_gpu=8, tell=told.append)
    gpu.room = 4
    both, plain = threading.Barrier(2), model._part

    def together(rows: np.ndarray, batch: int) -> Any:
        if batch == 8:
            both.wait(60)
        return plain(rows, batch)

    monkeypatch.setattr(model, "_part", together)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: model(crops(4))[0].tobytes(), range(2), timeout=120))
    assert found[0] == found[1] == thunder(batch=4)(crops(4))[0].tobytes()
    assert sorted(gpu.tried[:4]) == [4, 4, 8, 8]
    assert len(told) == 1
    assert model.batch == 4


@pytest.mark.slow
def test_poses_of_a_video_on_a_gpu_are_found_also_where_memory_runs_out(gpu: Gpu) -> None:
    options = PoseOptions(device="cpu", camera=False, duration=1.2, threads=2)
    whole = PoseEstimator(options)
    first = whole.estimate(VIDEO)
    # Half a chunk of frames is shown to the pose network at once; there are fewer for the detector.
    assert max(gpu.tried) == 16
    assert (whole._network.model.batch, whole._detector.model.batch) == (16, 8)
    assert whole._in_hand == 4
    gpu.tried.clear()
    gpu.room = 4
    told: list[str] = []
    short = PoseEstimator(options, tell=told.append)
    again = short.estimate(VIDEO)
    assert {rows for rows in gpu.tried if rows <= 4} == {4}
    names = ["movenet-multipose", "movenet-thunder", "movenet-thunder"]
    assert [line.split()[4] for line in told] == names
    np.testing.assert_allclose(again.tracks[0].keypoints, first.tracks[0].keypoints, atol=0.02)
    # The record says which shapes the last bits hang on.
    sizes = []
    for found in (first, again):
        assert found.source is not None
        settings = dict(found.source.settings)
        sizes.append((settings["batch"], settings["detector_batch"]))
    assert sizes == [("16", "8"), ("4", "4")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        # 48 frames of 30 a second: a chunk of 32, and half a one.
        ("lock_112", [16, 16, 16]),
        # 96 of 60 a second, of which every second one is taken: three chunks, which have half of their frames left.
        ("house_120_60fps", [16, 16, 16]),
    ],
)
def test_batches_on_a_gpu_are_full(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, name: str, sizes: list[int]) -> None:
    wanted: list[int] = []
    plain = PoseEstimator._crops

    def counted(self: PoseEstimator, crops: list[Any]) -> Any:
        wanted.append(len(crops))
        return plain(self, crops)

    monkeypatch.setattr(PoseEstimator, "_crops", counted)
    options = PoseOptions(device="cpu", camera=False, duration=1.6, threads=1)
    PoseEstimator(options).estimate(VIDEO.with_name(f"{name}.mp4"))
    assert wanted == sizes


@pytest.mark.slow
def test_every_command_tells_of_it(gpu: Gpu, make_video: Any, tmp_path: Path) -> None:
    gpu.room = 4
    video = make_video(tmp_path / "nobody.mp4", seconds=1)
    music = tmp_path / "music"
    music.mkdir()
    soundfile.write(music / "nobody.wav", np.zeros(16_000, np.float32), 16_000)
    shorter = "memory ran out while movenet-multipose looked for poses: it is shown 4 pictures at a time from now on"
    for words, told in (
        (["pose", video, "--out", tmp_path / "out", "--no-cache"], f"d2m pose: {shorter}"),
        (["rhythm", video, "--out", tmp_path / "out", "--no-cache"], f"d2m rhythm: {shorter}"),
        (["eval", music, "--dances", tmp_path, "--classifier", "none"], shorter),
    ):
        result = CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])
        assert result.exit_code == 1, result.output
        assert told in result.stderr.splitlines()
