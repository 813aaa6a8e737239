"""Where a training computes what."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from d2m_cli.inversion import clap
from d2m_cli.training import run
from d2m_cli.training.options import TrainOptions


def test_genre_is_heard_where_the_training_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No GPU is needed to tell where the model would be put."""
    placed: list[tuple[Path, str]] = []

    def listener(folder: Path, device: str) -> Path:
        placed.append((folder, device))
        return folder

    monkeypatch.setattr(clap, "ClapAudio", listener)
    options = TrainOptions(genre_encoder="clap")
    given: Any = SimpleNamespace(clap=tmp_path, options=options, cache=tmp_path, device="auto", decoder="auto")
    told: list[str] = []
    progress: Any = SimpleNamespace(say=told.append)
    backbone: Any = SimpleNamespace()
    features = run._features(given, backbone, "cuda:1", progress)
    assert placed == [(tmp_path, "cuda:1")]
    assert features.listener is not None
    assert told == ["genre by ear: CLAP on cuda:1"]
