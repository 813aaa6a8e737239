"""Each option is written once: its range, its words, and what the command line makes of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.errors import UsageError
from d2m_cli.training.options import PRESETS, TrainOptions, specs
from tests.training.made import make_set

RUN = CliRunner()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("hidden", 3, "hidden must be a whole number from 4 to 65536, not 3"),
        ("epochs", 2.5, "epochs must be a whole number from 1 to 1000000, not 2.5"),
        ("epochs", None, "epochs must be a whole number from 1 to 1000000, not None"),
        ("seed", True, "seed must be a whole number from 0 to 9223372036854775807, not True"),
        ("genre_dropout", 1.0, "genre_dropout must be 0 or more and below 1, not 1.0"),
        ("learning_rate", 0.0, "learning_rate must be above 0, not 0.0"),
        ("weight_decay", float("nan"), "weight_decay must be 0 or more, not nan"),
        ("jitter", 5.1, "jitter must be from 0 to 5, not 5.1"),
        ("hop", 0.0, "hop must be 0.01 or more, not 0.0"),
        ("schedule", "linear", "schedule='linear': choose constant, cosine"),
        ("rhythm_encoder", "sequence", "such as rhythm_vectors=8"),
    ],
)
def test_what_is_out_of_its_range_is_named_as_python_writes_it(name: str, value: object, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainOptions(**{name: value})  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_the_edges_of_ranges_belong_to_them_or_not_as_they_say() -> None:
    edges = TrainOptions(jitter=5.0, hop=0.01, hidden=4, clip=0.0, genre_dropout=np.nextafter(1.0, 0.0))
    assert (edges.jitter, edges.hop) == (5.0, 0.01)
    assert replace(edges, hop=None).hop is None


def test_presets_by_name_with_changes() -> None:
    assert TrainOptions.preset("quick", epochs=3) == replace(PRESETS["quick"], epochs=3)
    with pytest.raises(UsageError, match=r"preset='quik': choose paper-riffusion, .*quick"):
        TrainOptions.preset("quik")


def test_help_shows_every_option_with_its_words() -> None:
    shown = " ".join(RUN.invoke(app, ["train", "--help"], env={"COLUMNS": "400"}).stdout.split())
    assert len(fields(TrainOptions)) == 30
    for name, spec in specs().items():
        assert f"--{name.replace('_', '-')} " in shown
        assert spec.help in shown
    assert "--one-for-all" in shown
    assert "<fp32|bf16|fp16>" in shown
    assert str(TrainOptions.__doc__).count("Random seed") == 1


def test_the_command_line_changes_what_is_given_and_nothing_else(tmp_path: Path) -> None:
    given = ["--no-tail", "--per-layer", "--seed", "7", "--learning-rate", "0.25", "--schedule", "constant"]
    preset = ["--preset", "published-musicgen", "--rhythm-mode", "stable", "--dry-run", "--json"]
    result = RUN.invoke(app, ["train", str(make_set(tmp_path)), *preset, *given])
    assert result.exit_code == 0, result.output
    changed = {"tail": False, "per_layer": True, "seed": 7, "learning_rate": 0.25, "schedule": "constant"}
    wanted = replace(PRESETS["published-musicgen"], rhythm_mode="stable", **changed)  # type: ignore[arg-type]
    assert json.loads(result.stdout)["options"] == vars(wanted)


def test_words_that_are_no_choice_are_refused_with_the_choices(tmp_path: Path) -> None:
    for flag, word, told in (
        ("--schedule", "linear", "--schedule linear: choose constant, cosine"),
        ("--preset", "quik", "--preset quik: choose paper-riffusion"),
    ):
        result = RUN.invoke(app, ["train", str(tmp_path / "nowhere.csv"), flag, word])
        assert result.exit_code == 2
        assert told in result.stderr
