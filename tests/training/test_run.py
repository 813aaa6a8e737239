"""Where a training computes what."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from d2m_cli.inversion import clap
from d2m_cli.training import run
from d2m_cli.training.data.features import FeatureCache
from d2m_cli.training.options import TrainOptions


def test_genre_is_heard_where_the_training_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No GPU is needed to tell where the model would be put."""
    placed: list[tuple[Path, str]] = []

    def listener(folder: Path, device: str) -> Any:
        placed.append((folder, device))
        return SimpleNamespace(embed=lambda samples, rate: None)

    monkeypatch.setattr(clap, "ClapAudio", listener)
    features, told = listening("cuda:1", tmp_path)
    assert placed == [(tmp_path, "cuda:1")]
    assert features.listener is not None
    assert told == ["genre by ear: CLAP on cuda:1"]


@pytest.mark.parametrize("when", ["loading", "listening"])
def test_genre_is_heard_on_the_cpu_where_the_gpu_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str
) -> None:
    held: list[str] = []

    class Listener:
        def __init__(self, folder: Path, device: str) -> None:
            # What a GPU would have to hold is gone before it is tried elsewhere.
            gc.collect()
            assert not on_gpu
            self.device = device
            held.append(device)
            if device != "cpu":
                on_gpu.add(self)
                if when == "loading":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        def embed(self, samples: Any, rate: int) -> None:
            assert self.device != "cpu"
            raise RuntimeError("CUDA error: out of memory")

    on_gpu: weakref.WeakSet[Listener] = weakref.WeakSet()
    monkeypatch.setattr(clap, "ClapAudio", Listener)
    features, told = listening("cuda", tmp_path)
    assert held == ["cuda", "cpu"]
    assert isinstance(features.listener, Listener)
    assert features.listener.device == "cpu"
    assert told == [
        "memory ran out while CLAP was tried on cuda: genre is heard on the CPU",
        "genre by ear: CLAP on cpu",
    ]


def test_what_else_keeps_clap_off_a_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(folder: Path, device: str) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(clap, "ClapAudio", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        listening("cuda", tmp_path)


def listening(device: str, folder: Path) -> tuple[FeatureCache, list[str]]:
    """What hears genres of a training on this device, and what is told of it."""
    options = TrainOptions(genre_encoder="clap")
    given: Any = SimpleNamespace(clap=folder, options=options, cache=folder, device="auto", decoder="auto")
    told: list[str] = []
    progress: Any = SimpleNamespace(say=told.append)
    backbone: Any = SimpleNamespace()
    return run._features(given, backbone, device, progress), told
