from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.batch.status import CommandStatus, folder_status, folders_with_ledger
from d2m_cli.errors import UsageError
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from tests.batch.test_runs import launch, run, wait_for


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcdef":
        (folder / f"{name}.mov").write_bytes(name.encode())
    return folder


def only(out: Path) -> CommandStatus:
    (found,) = folder_status(out)
    return found


def counts(out: Path) -> tuple[int, int, int, int, int]:
    """Done, failed, in hand, waiting, left behind."""
    found = only(out)
    return found.done, found.failed, found.in_hand, found.waiting, found.left_behind


def test_from_the_first_file_to_the_end(inputs: Path, tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    for name in "be":
        (inputs / f"{name}.mov").write_bytes(b"bad")
    first = launch(inputs, out, "--wait-for", go)
    wait_for(first, "at a.mov")
    assert counts(out) == (0, 0, 1, 5, 0)
    found = only(out)
    assert (found.per_minute, found.seconds_left) == (None, None)
    (at_work,) = found.runs
    assert at_work.who.startswith(f"process {first.pid} on ")
    assert at_work.begun == pytest.approx(time.time(), abs=60)
    second = launch(inputs, out, "--shard", "1/1", "--wait-for", go)
    wait_for(second, "at b.mov")
    assert counts(out) == (0, 0, 2, 4, 0)
    first.kill()
    first.communicate()
    # The other has claimed what the dead one had in hand.
    assert counts(out) == (0, 0, 1, 5, 0)
    second.kill()
    second.communicate()
    assert counts(out) == (0, 0, 0, 0, 2)
    go.touch()
    assert run(inputs, out)[0] == 1
    assert counts(out) == (4, 2, 0, 0, 0)
    found = only(out)
    (reason,) = found.reasons
    assert (reason.text, reason.kind) == ("is not a video", "input")
    assert sorted(reason.inputs) == [str(inputs / "b.mov"), str(inputs / "e.mov")]
    assert found.per_minute is not None
    assert (found.seconds_left, found.runs) == (None, ())


def test_what_is_done_by_settings_of_its_own_is_done(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (inputs / "b.mov").write_bytes(b"bad")
    run(inputs, out, "--own")
    assert counts(out) == (5, 1, 0, 0, 0)
    # No file's settings are those of the run, which has to say that they need not be.
    work = launch(inputs, out, "--own", "--retry-failed", "--wait-for", tmp_path / "never")
    wait_for(work, "at b.mov")
    assert counts(out) == (5, 0, 1, 0, 0)
    work.kill()
    work.communicate()


@pytest.mark.slow
def test_what_is_to_be_made_again_waits(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (inputs / "b.mov").write_bytes(b"bad")
    run(inputs, out)
    for words, expected in (
        (["--seed", 1], (0, 0, 1, 5, 0)),
        (["--overwrite"], (0, 0, 1, 5, 0)),
        (["--retry-failed"], (5, 0, 1, 0, 0)),
        # One result more of each.
        (["--artefacts", ".wav,.mp3,.json,.txt"], (0, 0, 1, 5, 0)),
        (["--seed", 1, "--shard", "1/1"], (0, 0, 1, 5, 0)),
    ):
        work = launch(inputs, out, "--wait-for", tmp_path / "never", *words)
        wait_for(work, "at ")
        assert counts(out) == expected, words
        work.terminate()
        work.communicate()
        run(inputs, out, "--overwrite")


def add(ledger: Ledger, name: str, status: Any, at: float, **rest: Any) -> None:
    made = status in ("done", "checked")
    artefact = Artefact(f"{name}.wav", 1 if made else -1, "ab" if made else "")
    rest = {"command": "copy", "seconds": 2.0, **rest}
    ledger.add(Entry(f"in/{name}.mov", "c", "s", status, (artefact,), stem=name, at=at, **rest))


def test_the_rate_is_that_of_the_last_hour_of_work(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    # Long ago, and so of no account.
    for number in range(50):
        add(ledger, f"old{number}", "done", 1_000.0 + number)
    assert only(tmp_path).per_minute == pytest.approx(60 * 50 / (49 + 2))
    for number in range(11):
        add(ledger, f"new{number}", "failed" if number == 5 else "done", 100_000.0 + 60 * number)
    # 11 files from 2 s before the first was finished to the last.
    assert only(tmp_path).per_minute == pytest.approx(60 * 11 / (600 + 2))
    # What was looked at again was not made.
    add(ledger, "old7", "checked", 100_610.0)
    assert only(tmp_path).per_minute == pytest.approx(60 * 11 / (600 + 2))
    assert only(tmp_path).done == 60


def test_the_time_left_is_that_of_the_runs_at_work(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    work = launch(inputs, out, "--wait-for", go, "--seconds", "0.1")
    wait_for(work, "at a.mov")
    began = only(out).runs[0].begun
    add(Ledger(out), "z", "done", began - 100.0)  # before these runs
    assert only(out).per_minute is None
    # Two files more, which another run on the same folder made meanwhile; then it is half a minute later.
    for name in "yx":
        add(Ledger(out), name, "done", began + 1.0)
    monkeypatch.setattr(time, "time", lambda: began + 30.0)
    found = only(out)
    work.kill()
    work.communicate()
    assert (found.in_hand, found.waiting) == (1, 5)
    assert found.per_minute == pytest.approx(2 * 60 / 30.0)
    assert found.seconds_left == pytest.approx(6 * 15.0)


def test_reasons_that_differ_in_numbers_alone_are_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for name, error, kind in (
        ("a", "in/a.mov: ends after 3.2 s of 12", "input"),
        ("b", "in/b.mov: ends after 10 s of 11.5", "input"),
        ("c", "in/c.mov: is not a video", "input"),
        ("d", "bug in d2m or a library: KeyError at x.py:3: 'y'", "bug"),
        ("e", "ends after 3.2 s of 12", "bug"),
    ):
        add(ledger, name, "failed", 5.0, error=error, kind=kind)
    assert [(one.text, one.kind, one.inputs) for one in only(tmp_path).reasons] == [
        ("ends after 3.2 s of 12", "input", ("in/a.mov", "in/b.mov")),
        ("bug in d2m or a library: KeyError at x.py:3: 'y'", "bug", ("in/d.mov",)),
        ("ends after 3.2 s of 12", "bug", ("in/e.mov",)),
        ("is not a video", "input", ("in/c.mov",)),
    ]
    document = only(tmp_path).to_json()
    assert document["failed_by_reason"][0] == {
        "text": "ends after 3.2 s of 12", "kind": "input", "inputs": ("in/a.mov", "in/b.mov"), "count": 2,
    }  # fmt: skip


def test_commands_are_told_apart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    add(ledger, "a", "done", 5.0)
    ledger.add(Entry("in/a.mov", "c", "s", "done", (Artefact("a.txt", 1, "ab"),), stem="a", command="note"))
    assert [(one.command, one.done) for one in folder_status(tmp_path)] == [("copy", 1), ("note", 1)]
    assert folder_status(tmp_path)[1].per_minute is None


def test_a_folder_without_a_ledger_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no d2m-ledger.jsonl: name a folder that d2m wrote results to"):
        folders_with_ledger(tmp_path)
