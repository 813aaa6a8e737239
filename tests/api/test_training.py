"""`d2m.train` as a notebook calls it: on the paired examples, cut to a few songs."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import d2m_cli as d2m
from d2m_cli.api.training import read_pairs
from d2m_cli.errors import UsageError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.training.loop.logs import read_table

PAIRED = Path(__file__).parents[2] / "examples" / "paired"
FEW = d2m.TrainOptions.preset("quick", epochs=2, batch_size=2, warm_updates=5, hop=None, samples=0, validation_draws=1)


@pytest.fixture(scope="module")
def few_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four songs to train on, two for validation."""
    head, *lines = (PAIRED / "manifest.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.endswith(",train")][:4]
    kept += [line for line in lines if line.endswith(",validation")][:2]
    table = tmp_path_factory.mktemp("few") / "few.csv"
    for line in kept:
        for name in line.split(",")[:2]:
            (table.parent / name).symlink_to(PAIRED / name)
    table.write_text("\n".join([head, *kept, ""]), encoding="utf-8")
    return table


@pytest.mark.slow
def test_dances_to_encoders_in_one_line(few_songs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trained = d2m.train(few_songs, tmp_path / "out", backbone="embedded", options=FEW, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert trained.encoders == tmp_path / "out" / "encoders.safetensors"
    # Four windows, two an update: two updates an epoch.
    assert trained.updates.tolist() == [1, 2, 3, 4]
    written = [float(row["loss"]) for row in read_table(tmp_path / "out" / "updates.csv")]
    assert trained.losses.tolist() == written
    assert np.isfinite(trained.losses).all()
    assert [(epoch.epoch, epoch.update) for epoch in trained.epochs] == [(0, 0), (1, 2), (2, 4)]
    assert math.isnan(trained.epochs[0].training_loss)
    assert trained.epochs[2].training_loss == pytest.approx(float(np.mean(written[2:])))
    record = trained.record
    assert (record.options, record.backbone.name, record.course.updates) == (FEW, "embedded", 4)
    assert (record.data.training.songs, record.data.training.windows) == (4, 4)
    assert record.encoders.sha256 == file_sha256(trained.encoders)
    assert record.validation is not None
    best = min(epoch.validation_loss for epoch in trained.epochs[1:])
    assert record.validation.loss == pytest.approx(best, rel=1e-6)
    difference = record.validation.difference
    assert difference is not None
    assert difference.mean == pytest.approx(record.validation.loss_with_other_dances - record.validation.loss)
    assert json.loads((tmp_path / "out" / "train.json").read_text()) == json.loads(json.dumps(record.document()))
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FrozenInstanceError):
        trained.encoders = tmp_path  # type: ignore[misc]
    # Again: nothing is left to do. A set that was read before serves as well.
    pairs = read_pairs(few_songs, options=FEW)
    again = d2m.train(pairs, tmp_path / "out", backbone="embedded", options=FEW, device="cpu")
    assert again.losses.tolist() == written
    assert again.record.encoders == record.encoders


def test_errors_name_options_as_python_writes_them(few_songs: Path, tmp_path: Path) -> None:
    (tmp_path / "encoders.safetensors").write_bytes(b"precious")
    with pytest.raises(UsageError, match="replace it with overwrite=True"):
        d2m.train(few_songs, tmp_path, backbone="embedded", options=FEW, device="cpu")
    with pytest.raises(UsageError, match="checkpoint_minutes must be 0 or more, not nan"):
        d2m.train(few_songs, tmp_path / "other", options=FEW, checkpoint_minutes=math.nan)
    with pytest.raises(UsageError, match="preset='quik'"):
        d2m.train(few_songs, tmp_path / "other", options="quik")
    with pytest.raises(UsageError, match="camera='c12': choose c01 to c09, or all"):
        read_pairs(few_songs, camera="c12")
    assert not (tmp_path / "other").exists()
