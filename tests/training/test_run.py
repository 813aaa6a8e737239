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
    monkeypatch.setattr(clap, "ClapAudio", lambda folder, device: placed.append((folder, device)) or folder)
    options = TrainOptions(genre_encoder="clap")
    given: Any = SimpleNamespace(clap=tmp_path, options=options, cache=tmp_path, device="auto", decoder="auto")
    told: list[str] = []
    progress: Any = SimpleNamespace(say=told.append)
    features = run._features(given, SimpleNamespace(), "cuda:1", progress)
    assert placed == [(tmp_path, "cuda:1")]
    assert features.listener == tmp_path
    assert told == ["genre by ear: CLAP on cuda:1"]
