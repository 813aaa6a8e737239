"""``--log``: what a command appends to a file, and how it ends where that can't be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.pose.io import save_poses
from tests.rhythm.dances import FAMILIES, film


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    folder = tmp_path / "poses"
    save_poses(folder / "groove.pose.npz", film(FAMILIES["groove"](), 10.0))
    (folder / "odd\n.pose.npz").write_bytes(b"no poses")
    return folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["rhythm", *map(str, arguments)])
    return result.exit_code, result.stderr


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_batch_from_start_to_end(poses: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    code, told = run(poses, "--out", tmp_path / "out", "--log", log)
    assert code == 1
    found = lines(log)
    names = [line["event"] for line in found]
    # Both are in hand at once: which of them ends first is left to chance.
    assert sorted(names[2:-2]) == ["failed", "finished", "stage", "stage", "stage"]
    assert names[:2] + names[-2:] == ["started", "found", "summary", "ended"]
    by_name = {line["event"]: line for line in found}
    assert by_name["started"]["command"] == "rhythm"
    assert (by_name["found"]["files"], by_name["found"]["likely_done"]) == (2, 0)
    assert [line["stage"] for line in found if line["event"] == "stage"] == ["look", "rhythm", "write"]
    finished, failed = by_name["finished"], by_name["failed"]
    assert finished["file"] == str(poses / "groove.pose.npz")
    assert finished["results"] == [str(tmp_path / "out" / "groove.rhythm.json")]
    assert finished["state"] == "done"
    assert failed["file"] == f"{poses}/odd\n.pose.npz"
    assert not failed["bug"]
    assert failed["reason"] in failed["text"]
    # What is printed is what stands there.
    assert by_name["summary"]["text"] in told
    assert finished["text"] in told
    assert (by_name["summary"]["done"], by_name["summary"]["failed"]) == (1, 1)
    assert by_name["ended"]["exit_code"] == 1
    # Another run goes on below.
    run(poses, "--out", tmp_path / "out", "--log", log)
    more = lines(log)[len(found) :]
    assert sorted(line["event"] for line in more) == sorted(
        ["started", "found", "finished", "failed", "summary", "note", "ended"]
    )
    assert more[1]["likely_done"] == 2
    assert [line["state"] for line in more if line["event"] == "finished"] == ["already done"]
    assert [line["failed_before"] for line in more if line["event"] == "failed"] == [True]
    assert len({line["run"] for line in lines(log)}) == 2


def test_a_command_that_can_not_start(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    assert run(tmp_path / "none", "--log", log)[0] == 2
    assert [(line["event"], line.get("exit_code")) for line in lines(log)] == [
        ("started", None), ("error", 2), ("ended", 2),
    ]  # fmt: skip
    code, told = run(tmp_path, "--log", tmp_path / "no" / "run.jsonl")
    assert code == 2
    assert "--log" in told
    assert "can't be written (No such file or directory)" in told


def test_an_input_that_is_named_as_the_log_stays_as_it_is(poses: Path, tmp_path: Path) -> None:
    before = (poses / "groove.pose.npz").read_bytes()
    code, told = run("--log", poses / "groove.pose.npz", poses, "--out", tmp_path / "out")
    assert (code, (poses / "groove.pose.npz").read_bytes()) == (2, before)
    assert "--log" in told
    assert "is there and no log" in told
    assert not (tmp_path / "out").exists()


def test_a_log_on_a_full_disk_stops_nothing(poses: Path, tmp_path: Path) -> None:
    (poses / "odd\n.pose.npz").unlink()
    code, told = run(poses, "--out", tmp_path / "out", "--log", "/dev/full")
    assert code == 1
    assert (tmp_path / "out" / "groove.rhythm.json").is_file()
    assert told.count("the log /dev/full can't be written (No space left on device); the work goes on without it") == 1
