"""Networks in ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import UsageError
from d2m_cli.pose.movenet import Thunder
from d2m_cli.pose.session import Bound, ByShape, OnnxModel
from d2m_cli.pose.settings import takes_gpu
from d2m_cli.pose.weights import pose_weights


@pytest.fixture(scope="module")
def multipose() -> OnnxModel:
    return OnnxModel(pose_weights("movenet-multipose"), "cpu", batch=2)


def pictures(height: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, height, 64, 3), dtype=np.uint8)


def test_on_a_cpu_one_row_is_computed_at_once_unless_said_otherwise(heat_model: Callable[..., Path]) -> None:
    maps = np.zeros((17, 4, 4), np.float32)
    assert OnnxModel(heat_model(maps), "cpu").batch == 1
    assert OnnxModel(heat_model(maps), "cpu", batch=3).batch == 3
    assert OnnxModel(heat_model(maps, batch=2), "cpu", batch=3).batch == 2


def test_bound_memory_gives_what_a_plain_run_gives(multipose: OnnxModel) -> None:
    """Also for pictures of another size, and what came out once stays when the next batch goes through."""
    session, name = multipose._session, multipose._input
    bound = Bound(session, "cpu")
    batches = [pictures(height, seed) for seed, height in enumerate((64, 64, 96, 64))]
    found = [bound(None, {name: batch}) for batch in batches]
    for batch, outputs in zip(batches, found, strict=True):
        expected = session.run(None, {name: batch})
        assert len(outputs) == len(expected)
        for one, other in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_bound_memory_is_for_one_thread_at_a_time(multipose: OnnxModel) -> None:
    session, name = multipose._session, multipose._input
    bound = Bound(session, "cpu")
    batches = [pictures(64, seed) for seed in range(4)]
    expected = [session.run(None, {name: batch})[0] for batch in batches]
    wrong = []

    def work(number: int) -> None:
        for _ in range(5):
            if not np.array_equal(bound(None, {name: batches[number]})[0], expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Session:
    """What ONNX Runtime would make on a machine with GPUs."""

    def __init__(self, network: object, options: object, providers: list[Any]) -> None:
        self.asked, self.options = providers, options

    def get_providers(self) -> list[str]:
        return [one[0] if isinstance(one, tuple) else one for one in self.asked]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="rows", type="tensor(uint8)", shape=["batch", 64, 64, 3])]

    def get_outputs(self) -> list[Any]:
        return []

    def io_binding(self) -> None:
        return None


@pytest.mark.parametrize(("device", "number"), [("cuda", 0), ("cuda:1", 1), ("auto", 0)])
def test_a_gpus_number_reaches_the_provider_and_its_memory(
    heat_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, device: str, number: int
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("d2m_cli.pose.session.visible_gpus", lambda: 2)
    model = OnnxModel(heat_model(np.zeros((17, 4, 4), np.float32)), device)
    (_, settings), other = model._session.asked
    assert (settings.get("device_id", "0"), other) == (str(number), "CPUExecutionProvider")
    # As much memory as is asked for, and once.
    assert settings["arena_extend_strategy"] == "kSameAsRequested"
    assert not model._session.options.enable_mem_pattern
    assert isinstance(model._run, ByShape)
    assert model._run._spare[0]._device == ("cuda", number)
    with pytest.raises(UsageError, match="here are cuda:0, cuda:1"):
        OnnxModel(model.path, "cuda:2")


def test_a_gpu_counts_whatever_its_number() -> None:
    assert (takes_gpu("cuda:1"), takes_gpu("cuda"), takes_gpu("cpu")) == (True, True, False)


def test_each_shape_has_a_session_of_its_own_and_few_are_kept(multipose: OnnxModel) -> None:
    session, name = multipose._session, multipose._input
    opened: list[Bound] = []

    def another() -> Bound:
        opened.append(Bound(session, "cpu"))
        return opened[-1]

    first = Bound(session, "cpu")
    run = ByShape(first, another)
    heights = (64, 96, 128, 160)
    for height in heights * 2:
        batch = pictures(height, height)
        np.testing.assert_array_equal(run(None, {name: batch})[0], session.run(None, {name: batch})[0])
    # The first serves the first shape, and none saw a second one.
    assert [one._rows.shape()[1] for one in (first, *opened)] == list(heights)
    # A fifth takes the place of the one that waited longest.
    run(None, {name: pictures(192, 0)})
    assert len(opened) == 3
    assert first._rows.shape()[1] == 192


def test_on_a_gpu_crops_of_all_dancers_have_one_shape(
    heat_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slim = np.array([[0.0, 0.0, 40.0, 200.0]])
    model = OnnxModel(heat_model(np.zeros((17, 4, 4), np.float32)), "cpu")
    assert Thunder(model).crop_for(slim) == (96, 256)
    model.provider = "CUDAExecutionProvider"
    assert Thunder(model).crop_for(slim) == (256, 256)
