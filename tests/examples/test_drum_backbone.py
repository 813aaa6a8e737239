"""The worked example of docs/adding-a-backbone.md: a family that another package brings, trained and played."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.backbones.base import Identity, Sampling
from d2m_cli.backbones.registry import choose, families, open_backbone
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.training.loop.logs import read_table
from tests.training.made import make_set

ROOT = Path(__file__).resolve().parents[2]
RUN = CliRunner()


@pytest.fixture
def drums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of weights, and the family installed as a package of its own would be."""
    package = tmp_path / "site"
    (package / "drums-1.0.dist-info").mkdir(parents=True)
    (package / "drums-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: drums\nVersion: 1.0\n")
    (package / "drums-1.0.dist-info" / "entry_points.txt").write_text(
        "[d2m.backbones]\ndrums = drum_backbone:DrumBackbone\n"
    )
    monkeypatch.syspath_prepend(package)
    monkeypatch.syspath_prepend(ROOT / "examples")
    import drum_backbone

    folder = tmp_path / "weights"
    folder.mkdir()
    drum_backbone.save_new(folder)
    yield folder
    sys.modules.pop("drum_backbone")


def test_the_page_shows_the_file_that_runs_here() -> None:
    page = (ROOT / "docs" / "adding-a-backbone.md").read_text(encoding="utf-8")
    code = (ROOT / "examples" / "drum_backbone.py").read_text(encoding="utf-8")
    shown = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class DrumBackbone" in block]
    assert shown == [code]
    assert len(code.splitlines()) < 100


def test_a_family_of_another_package_is_found_by_name(drums: Path) -> None:
    assert {"embedded", "riffusion", "musicgen", "audiocraft", "drums"} <= set(families())
    choice = choose(f"drums:{drums}")
    assert (choice.family, choice.folder, choice.encoders) == ("drums", drums, None)
    backbone = open_backbone(choice, "cpu")
    assert backbone.licence == f"not known, see {drums}"
    assert not backbone.speaks_tempo
    (drums / "d2m.json").write_text('{"licence": "CC0", "speaks_tempo": true}')
    backbone = open_backbone(choice, "cpu")
    assert (backbone.licence, backbone.speaks_tempo) == ("CC0", True)


def test_what_a_family_cannot_do_is_said(drums: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"compile=True: drums has nothing to compile; it is for musicgen"):
        open_backbone(choose(f"drums:{drums}"), "cpu", compiled=True)
    with pytest.raises(UsageError, match="say which model, as drums:FOLDER"):
        choose("drums")
    with pytest.raises(UsageError, match=r"unknown backbone 'harp'.*drums"):
        choose("harp")
    with pytest.raises(MissingWeightsError, match="backbone='drums:someone/drums': there is no such folder"):
        choose("drums:someone/drums")
    with pytest.raises(MissingWeightsError, match=r"drums\.safetensors: no such file"):
        open_backbone(choose(f"drums:{tmp_path}"), "cpu")
    (drums / "d2m.json").write_text('{"speaks_tempo": true}')
    with pytest.raises(MissingWeightsError, match=r"d2m\.json: is not a card of a model"):
        open_backbone(choose(f"drums:{drums}"), "cpu")


def test_hits_are_those_of_the_words(drums: Path) -> None:
    from drum_backbone import DrumBackbone

    backbone = DrumBackbone(drums, Identity("drums", "CC0"))
    vector = torch.randn(1, 32) * 5
    condition = backbone.embed(["a * music"], {"*": vector})
    by_hand = (backbone.words_vector("a") + vector[0] + backbone.words_vector("music")) / 3
    assert torch.allclose(condition.states[0, 0], by_hand)
    audio = backbone.generate(condition, backbone.embed([""], {}), [3], None, Sampling(guidance=1.0)).audio
    hits = backbone.network["hits"](by_hand).clamp(0, 1)
    loudness = audio.reshape(64, -1).square().mean(1).sqrt()
    assert np.corrcoef(hits.numpy(), loudness.numpy())[0, 1] > 0.95


@pytest.mark.slow
def test_it_is_trained_and_played_like_any_other(drums: Path, tmp_path: Path) -> None:
    manifest = make_set(tmp_path / "pairs")
    out = tmp_path / "run"
    few = ["--preset", "quick", "--epochs", "6", "--batch-size", "4", "--warm-updates", "0", "--samples", "1"]
    arguments = ["train", manifest, "--backbone", f"drums:{drums}", "--out", out, "--hop", "0.64", *few]
    result = RUN.invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    losses = [float(row["validation_loss"]) for row in read_table(out / "epochs.csv")]
    assert min(losses[1:]) < losses[0]
    assert json.loads(result.stdout)["backbone"]["name"] == f"drums:{drums}"
    assert list((out / "samples").rglob("*.wav"))
    encoders = Encoders.load(out / "encoders.safetensors")
    backbone = open_backbone(choose(f"drums:{drums}"), "cpu")
    encoders.check(backbone)
    steps = torch.zeros(2, encoders.grid.steps)
    steps[0, ::25] = steps[1, 12::40] = 1
    words = encoders.pseudo_words(steps, ["LO", "LO"])
    condition = backbone.embed(["a @ music with * as the rhythm"] * 2, words)
    made = backbone.generate(condition, backbone.embed([""], {}), [1, 1]).audio
    assert not torch.equal(made[0], made[1])
