"""`d2m listening-test` as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from d2m_cli.app import app
from d2m_cli.media.audio import save_wav
from tests.evaluation.sounds import clicks, metronome

RUN = CliRunner()
VIDEO = Path(__file__).parents[2] / "examples" / "videos"


def run(*arguments: object) -> Result:
    return RUN.invoke(app, ["listening-test", *map(str, arguments)])


def test_a_listening_test_and_its_scores(tmp_path: Path) -> None:
    dances = tmp_path / "dances"
    dances.mkdir()
    shutil.copy(next(VIDEO.glob("*.mp4")), dances / "e.mp4")
    for system, first in (("true", 0.2), ("own", 0.4)):
        sound = clicks(metronome(120.0, 5.0, first), 5.0, 16000).astype(np.float32)
        save_wav(tmp_path / system / "e.wav", sound, 16000)
    out = tmp_path / "test"
    result = run("make", tmp_path / "own", "--reference", tmp_path / "true", "--dances", dances, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out / "index.html")
    key = json.loads((out / "key.json").read_text(encoding="utf-8"))
    assert key["systems"] == ["generated", "true music"]
    items = {system: item for clip in key["clips"] for item, system in clip["items"].items()}
    # One item is rated a second time.
    ratings = [
        {"item": items[system], "repeat": again, "coherence": value, "quality": value, "plays": 1, "problem": None}
        for system, value, again in (("generated", 2, False), ("true music", 5, False), ("generated", 3, True))
    ]
    sent = {
        "format": "d2m-listening-result",
        "version": 1,
        "test": key["test"],
        "participant": "p",
        "started": "2026-05-01T10:00:00.000Z",
        "finished": "2026-05-01T10:20:00.000Z",
        "ratings": ratings,
    }
    (out / "p.json").write_text(json.dumps(sent), encoding="utf-8")
    # The folder holds the key, too, which is no answer.
    result = run("score", out, "--key", out / "key.json")
    assert result.exit_code == 0, result.output
    assert "Mean opinion scores of 1 listener on 1 dance" in result.stdout
    assert "generated less true music, coherence: -3.00" in result.stderr
    result = run("score", out, "--key", out / "key.json", "--json")
    assert [one["mean"] for one in json.loads(result.stdout)["opinions"]] == [2.0, 2.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["score", "answers", "--key", "gone.json"], 2, "--key gone.json: no such file; name the key.json"),
        (["score", "answers", "--key", "key.json"], 1, "key.json: is no key of a listening test"),
        (["make", "music", "--dances", "empty"], 2, "no dance has music by every system"),
        (["make", "music", "--name", "true music", "--reference", "music"], 2, "give that system another name"),
        (["make", "music", "--system", "x"], 2, "--system x: give NAME=FOLDER"),
    ],
)
def test_what_cannot_be_made_or_scored_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("answers", "empty", "music"):
        (tmp_path / name).mkdir()
    (tmp_path / "key.json").write_text("{}")
    save_wav(tmp_path / "music" / "a.wav", np.zeros((1, 800), np.float32), 8000)
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert not (tmp_path / "listening_test").exists()
