"""`d2m train` and `d2m generate` for models that write whole pieces, on small ones with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.inversion.checkpoint import Encoders
from tests.fakes import FakePoses
from tests.latent_audio_models import save_ace_step, save_stable_audio_3
from tests.training.made import make_set

FEW = ["--preset", "quick", "--epochs", "1", "--batch-size", "4", "--warm-updates", "2", "--samples", "1"]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "save"), [("ace-step", save_ace_step), ("stable-audio", save_stable_audio_3)])
def test_from_dances_to_encoders_to_music(family, save, tmp_path: Path, make_video, monkeypatch) -> None:
    backbone, out = f"{family}:{save(tmp_path / 'model')}", tmp_path / "out"
    told = [make_set(tmp_path / "pairs"), "--backbone", backbone, "--out", out, "--hop", "2.56", *FEW]
    result = CliRunner().invoke(app, ["train", *map(str, told)])
    assert result.exit_code == 0, result.output
    encoders = Encoders.load(out / "encoders.safetensors")
    assert encoders.config.backbone == backbone
    assert encoders.config.width == 16
    assert len(list((out / "samples" / "epoch-001").glob("*.wav"))) == 1
    monkeypatch.setattr("d2m_cli.pose.estimator.PoseEstimator", lambda options, **_: FakePoses(8.0))
    video = make_video(tmp_path / "dance.mp4", seconds=8.0)
    told = [video, "--backbone", backbone, "--encoders", out / "encoders.safetensors", "--out", tmp_path / "music"]
    told += ["--steps", "1", "--candidates", "1", "--no-mp4", "--genre", "lock", "--snap", "off"]
    result = CliRunner().invoke(app, ["generate", *map(str, told)])
    assert result.exit_code == 0, result.output
    windows = json.loads((tmp_path / "music" / "dance.json").read_text())["windows"]
    # As long as those that "*" was trained on, each with what stands for its part of the dance.
    assert len(windows) == 2
    assert all("a @ music with * as the rhythm" in window["prompt"] for window in windows)
