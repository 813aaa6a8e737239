"""`d2m train` as a user runs it, on a tiny model in riffusion-model-v1's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.errors import UsageError
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.training.loop.logs import read_table
from d2m_cli.training.result_folder import alone_in
from tests.tiny_models import save_tiny_riffusion
from tests.training.made import make_set

RUN = CliRunner()
FEW = ["--preset", "quick", "--epochs", "2", "--batch-size", "4", "--warm-updates", "20", "--samples", "1"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose windows last 5.12 s: 64 columns of 80 ms."""
    return save_tiny_riffusion(tmp_path_factory.mktemp("tiny"), hop_length=640)


def train(*arguments: object) -> Any:
    return RUN.invoke(app, ["train", *map(str, arguments)])


def test_from_a_table_to_encoders_that_generate_takes(manifest: Path, tiny: Path, tmp_path: Path) -> None:
    backbone, out = f"riffusion:{tiny}", tmp_path / "out"
    result = train(manifest, "--backbone", backbone, "--out", out, "--hop", "2.56", *FEW)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out / "encoders.safetensors")
    for told in ("songs", "--learning-rate", "epoch 2 of 2", "validation loss"):
        assert told in result.stderr
    record = json.loads((out / "train.json").read_text())
    assert record["data"]["training"] == {
        "songs": 6, "clips": 6, "windows": 18, "genres": {"HO": 9, "LO": 9},
    }  # fmt: skip
    assert record["course"]["updates"] == len(read_table(out / "updates.csv")) == 8
    encoders = Encoders.load(out / "encoders.safetensors")
    assert encoders.config.backbone == backbone
    assert encoders.config.width == 24
    assert encoders.sha256 == record["encoders"]["sha256"]
    assert len(list((out / "samples" / "epoch-002").glob("*.wav"))) == 1
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    # The same command again: nothing is left to do.
    before = (out / "updates.csv").read_bytes()
    again = train(manifest, "--backbone", backbone, "--out", out, "--hop", "2.56", *FEW, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["course"]["updates"] == 8
    assert (out / "updates.csv").read_bytes() == before
    # Other settings in the same folder.
    other = train(manifest, "--backbone", backbone, "--out", out, "--hop", "2.56", *FEW, "--seed", "4")
    assert other.exit_code == 2
    assert "--overwrite" in other.stderr
    over = train(manifest, "--backbone", backbone, "--out", out, "--hop", "2.56", *FEW, "--seed", "4", "--overwrite")
    assert over.exit_code == 0, over.output
    assert (out / "updates.csv").read_bytes() != before
    # Encoders for another model are refused.
    video = tmp_path / "none.mp4"
    video.write_bytes(b"")
    made = ["--encoders", str(out / "encoders.safetensors"), "--out", str(tmp_path / "music")]
    wrong = RUN.invoke(app, ["generate", str(video), "--backbone", "embedded", *made])
    assert wrong.exit_code != 0
    assert "text width" in wrong.stderr


@pytest.mark.parametrize(
    "ablation",
    [
        ["--rhythm-encoder", "attn-pos", "--rhythm-mode", "published"],
        ["--rhythm-encoder", "constant", "--genre-encoder", "constant"],
        ["--rhythm-encoder", "sequence", "--rhythm-vectors", "4", "--genre-encoder", "none"],
        ["--rhythm-vectors", "2", "--genre-vectors", "2", "--per-layer", "--rhythm-mode", "paper"],
        ["--precision", "fp32", "--accumulate", "2", "--ema", "0.9", "--focus", "0"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_ablations_by_name(manifest: Path, tiny: Path, tmp_path: Path, ablation: list[str]) -> None:
    few = ["--preset", "paper-riffusion", "--epochs", "1", "--batch-size", "6", "--samples", "0"]
    result = train(manifest, "--backbone", f"riffusion:{tiny}", "--out", tmp_path / "out", *few, *ablation)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "train.json").read_text())
    assert record["validation"]["loss"] > 0
    Encoders.load(tmp_path / "out" / "encoders.safetensors")


def test_dry_run_says_what_would_be_done_and_writes_nothing(manifest: Path, tmp_path: Path) -> None:
    result = train(manifest, "--out", tmp_path / "out", "--dry-run", "--json")
    assert result.exit_code == 0
    assert "manifest" in result.stderr
    said = json.loads(result.stdout)
    assert [split["clips"] for split in said["data"]["splits"]] == [6, 1, 1]
    assert said["options"]["rhythm_encoder"] == "mlp"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--learning-rate", "0"], "--learning-rate"),
        (["--rhythm-encoder", "sequence"], "--rhythm-vectors"),
        (["--rhythm-vectors", "100"], "take fewer --rhythm-vectors"),
        (["--genre-dropout", "1.5"], "--genre-dropout"),
        (["--hop", "-1"], "--hop"),
        (["--camera", "c12"], "c01 to c09"),
        (["--genre-encoder", "clap"], "--clap"),
        (["--precision", "fp16", "--device", "cpu"], "fp16 needs a CUDA device"),
        (["--backbone", "riffusion:/nowhere"], "/nowhere"),
        (["--start", "/nowhere/e.safetensors"], "can't be read as encoders"),
    ],
)
def test_what_can_not_be_is_said(manifest: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    result = train(manifest, "--out", tmp_path / "out", "--cache", tmp_path / "cache", *arguments)
    assert result.exit_code == 2, result.output
    assert told in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--seed", "-1"), ("--seed", str(2**63)), ("--seed", "1.5"), ("--seed", "x"), ("--learning-rate", "nan"),
        ("--learning-rate", "inf"), ("--learning-rate", "-1"), ("--hop", "nan"), ("--hop", "inf"), ("--hop", "1e-300"),
        ("--checkpoint-minutes", "nan"), ("--checkpoint-minutes", "inf"), ("--checkpoint-minutes", "-1"),
        ("--epochs", "0"), ("--jitter", "-0.1"), ("--jitter", "nan"), ("--jitter", "1e9"), ("--weight-decay", "nan"),
        ("--clip", "inf"), ("--focus", "nan"), ("--beta1", "nan"), ("--beta2", "1"), ("--ema", "nan"),
        ("--drop-peaks", "nan"), ("--genre-dropout", "-0.1"), ("--batch-size", "10000000000"), ("--warmup", "-1"),
        ("--hidden", "1000000000"), ("--rhythm-vectors", "100000"), ("--validation-draws", "0"), ("--samples", "-1"),
        ("--patience", "-1"), ("--accumulate", "0"), ("--warm-updates", "-1"), ("--genre-vectors", "0"),
    ],
)  # fmt: skip
def test_numbers_are_checked_before_the_dances_are_looked_for(tmp_path: Path, name: str, value: str) -> None:
    result = train(tmp_path / "nowhere.csv", name, value)
    assert result.exit_code == 2, result.output
    assert name in result.stderr
    assert "nowhere" not in result.stderr


def test_bad_lines_and_damaged_dances_are_skipped_by_name(tmp_path: Path) -> None:
    manifest = make_set(tmp_path / "set")
    lines = manifest.read_text().splitlines()
    lines[3:3] = ['dance0.pose.npz,song0.wav,LO,"0,5",song0,train', "flip.pose.npz,song1.wav,LO,0,song1,train"]
    manifest.write_text("\n".join(lines))
    whole = bytearray((tmp_path / "set" / "dance0.pose.npz").read_bytes())
    whole[len(whole) // 2] ^= 4
    (tmp_path / "set" / "flip.pose.npz").write_bytes(whole)
    result = train(manifest, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert f"skipped: {manifest}: line 4: start must be written with a decimal point" in result.stderr
    assert f"skipped: {manifest}: line 5: {tmp_path / 'set' / 'flip.pose.npz'}: is not a readable" in result.stderr


def test_encoders_of_another_origin_are_not_replaced(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "encoders.safetensors").write_bytes(b"precious")
    result = train(manifest, "--out", tmp_path)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert (tmp_path / "encoders.safetensors").read_bytes() == b"precious"


@pytest.mark.slow
def test_overwriting_waits_until_the_new_training_can_begin(manifest: Path, tiny: Path, tmp_path: Path) -> None:
    few = [*FEW, "--epochs", "1", "--samples", "0", "--backbone", f"riffusion:{tiny}", "--out", tmp_path]
    assert train(manifest, *few).exit_code == 0
    mine = tmp_path / "encoders.safetensors"
    refused = train(manifest, *few, "--overwrite", "--genre-encoder", "clap")
    assert refused.exit_code == 2
    assert mine.is_file()
    # The encoders that it begins from are those that it replaces.
    before = mine.read_bytes()
    again = train(manifest, *few, "--overwrite", "--start", mine)
    assert again.exit_code == 0, again.output
    assert mine.read_bytes() != before


def test_a_set_without_training_songs_says_so(tmp_path: Path) -> None:
    manifest = make_set(tmp_path, songs=2)
    text = manifest.read_text().replace(",train", ",test")
    manifest.write_text(text)
    result = train(manifest, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "train" in result.stderr


def test_two_trainings_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(UsageError, match="another training is at work"), alone_in(tmp_path):
        pass
    # The lock goes with who held it: the next one comes in.
    entered = []
    with alone_in(tmp_path):
        entered.append(tmp_path)
    assert entered == [tmp_path]
