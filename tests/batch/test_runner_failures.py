"""What fails in a batch: how far that reaches, and when it is tried again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from d2m_cli.batch.runner import run_batch
from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.search import find_files
from tests.batch.copier import Copier, ledger_lines, run, states


def test_one_bad_file_does_not_stop_the_rest(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "a.mp4").write_bytes(b"bad")
    (inputs / "b.mp4").write_bytes(b"bug")
    work = Copier()
    summary = run(inputs, work)
    assert (states(summary), summary.exit_code) == (["failed", "failed", "done"], 1)
    assert summary.outcomes[0].error == f"{inputs / 'a.mp4'}: is not a video"
    assert not summary.outcomes[0].bug
    assert summary.outcomes[1].bug
    assert "bug in d2m or a library: ZeroDivisionError at copier.py:" in (summary.outcomes[1].error or "")
    err = capsys.readouterr().err
    assert "d2m copy: 1 done, 2 failed" in err
    lines = [json.loads(line) for line in (inputs.parent / "out" / LEDGER_NAME).read_text().splitlines()]
    assert [line["status"] for line in lines] == ["started", "failed"] * 2 + ["started", "placing", "done"]
    # What failed is tried again.
    work.seen.clear()
    (inputs / "a.mp4").write_bytes(b"mended")
    assert states(run(inputs, work)) == ["done", "failed", "already done"]


def test_a_file_that_can_not_be_read_is_named(inputs: Path) -> None:
    items = find_files([inputs], frozenset({".mp4"}))
    (inputs / "b.mp4").unlink()
    summary = run_batch(items, Copier(), settings={}, artefacts=(".wav",), out_dir=inputs.parent / "out", label="copy")
    assert states(summary) == ["done", "failed", "done"]
    assert "b.mp4 can't be read: No such file" in (summary.outcomes[1].error or "")


def test_a_full_disk_stops_the_batch(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"full")
    summary = run(inputs, Copier())
    assert (states(summary), summary.exit_code) == (["done", "failed", "not tried"], 1)
    assert "the disk is full: free some space" in (summary.stopped or "")
    assert "d2m: error: can't write" in capsys.readouterr().err


def test_a_missing_model_concerns_all(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"weights")
    with pytest.raises(MissingWeightsError):
        run(inputs, Copier())


def test_an_error_nobody_foresaw_keeps_its_traceback(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"bug")
    run(inputs, Copier(), verbose=True)
    err = capsys.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert 'raise ZeroDivisionError("oops")' in err
    (line,) = [line for line in ledger_lines(inputs) if line["status"] == "failed"]
    assert 'raise ZeroDivisionError("oops")' in line["traceback"]
    run(inputs, Copier())
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_is_named_once_in_a_line(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"bad")
    run(inputs, Copier())
    line = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("[2/3]"))
    assert line.startswith(f"[2/3] {inputs / 'b.mp4'}: failed: is not a video")


def test_trouble_with_one_result_is_that_files_alone(inputs: Path) -> None:
    out = inputs.parent / "out"
    (out / "a.json").mkdir(parents=True)
    (inputs / "b.mp4").write_bytes(b"long")
    summary = run(inputs, Copier(), overwrite=True)
    assert (states(summary), summary.stopped) == (["failed", "failed", "done"], None)
    assert summary.outcomes[0].error == (
        f"can't write {out / 'a.json'}: a folder stands where the file belongs: move it, or choose another folder "
        "with out"
    )
    # Named as it would be called, not as it is called while it is made.
    assert f"can't write {out / 'b.wav'}: the name is too long" in (summary.outcomes[1].error or "")
    assert sorted(path.name for path in out.iterdir()) == ["a.json", "c.json", "c.wav", LEDGER_NAME]


def test_nothing_of_a_failed_file_appears(inputs: Path) -> None:
    run(inputs, Copier())
    (inputs / "b.mp4").write_bytes(b"half")
    assert states(run(inputs, Copier(), settings={"k": 2})) == ["done", "failed", "done"]
    assert (inputs.parent / "out" / "b.wav").read_bytes() == b"b"


def test_a_file_that_goes_or_changes_meanwhile_costs_only_itself(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"vanishes")
    (inputs / "b.mp4").write_bytes(b"grows")
    summary = run(inputs, Copier())
    assert (states(summary), summary.exit_code) == (["failed", "failed", "done"], 1)
    assert summary.outcomes[0].error == f"{inputs / 'a.mp4'} can't be read: No such file or directory"
    assert not summary.outcomes[0].bug
    assert "b.mp4 changed while d2m worked on it: run the same command again" in (summary.outcomes[1].error or "")
    assert not (inputs.parent / "out" / "b.wav").exists()
    # A pipe in the place of a file is not opened.
    items = find_files([inputs], frozenset({".mp4"}))
    (inputs / "c.mp4").unlink()
    os.mkfifo(inputs / "c.mp4")
    summary = run_batch(items, Copier(), settings={}, artefacts=(".wav",), out_dir=inputs.parent / "o", label="copy")
    assert "c.mp4 can't be read: not a regular file" in (summary.outcomes[-1].error or "")


def test_a_missing_model_is_no_death(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"weights")
    for _ in range(4):
        with pytest.raises(MissingWeightsError):
            run(inputs, Copier())
    assert [line["status"] for line in ledger_lines(inputs)] == ["started", "interrupted"] * 4
    assert [path.name for path in (inputs.parent / "out").iterdir()] == [LEDGER_NAME]


def test_what_failed_is_tried_again_only_when_asked(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "a.mp4").write_bytes(b"bad")
    (inputs / "b.mp4").write_bytes(b"bug")
    work = Copier()
    first = run(inputs, work)
    assert states(first) == ["failed", "failed", "done"]
    capsys.readouterr()
    again = run(inputs, work, json_out=True)
    assert (states(again), again.exit_code) == (["failed", "failed", "already done"], 1)
    assert work.seen == ["a.mp4", "b.mp4", "c.mp4"]
    assert [outcome.error for outcome in again.outcomes] == [outcome.error for outcome in first.outcomes]
    assert [outcome.bug for outcome in again.outcomes] == [False, True, False]
    captured = capsys.readouterr()
    assert "a.mp4: failed: is not a video (as before; not tried again)" in captured.err
    told = "2 of the failed were not tried again: they would fail as before; retry_failed=True tries them"
    assert told in captured.err
    document = json.loads(captured.out)
    assert (document["failed"], document["failed_before"]) == (2, 2)
    assert [item["failed_before"] for item in document["items"]] == [True, True, False]
    # When asked, with other settings, with other results, or once the file is another.
    assert states(run(inputs, work, retry_failed=True, dry_run=True)) == ["planned", "planned", "already done"]
    run(inputs, work, retry_failed=True)
    run(inputs, work, settings={"k": 2})
    run(inputs, work, artefacts=(".wav", ".json", ".mp3"))
    run(inputs, work, overwrite=True)
    assert [work.seen.count(name) for name in ("a.mp4", "b.mp4")] == [5, 5]
    (inputs / "a.mp4").write_bytes(b"mended")
    assert states(run(inputs, work)) == ["done", "failed", "already done"]


def test_what_failed_for_want_of_something_is_tried_again(inputs: Path) -> None:
    (inputs / "a.mp4").write_bytes(b"full")
    (inputs / "b.mp4").write_bytes(b"long")
    (inputs / "c.mp4").write_bytes(b"vanishes")
    work = Copier()
    for _ in range(2):
        assert states(run(inputs, work)) == ["failed", "not tried", "not tried"]
    (inputs / "a.mp4").write_bytes(b"a")
    for _ in range(2):
        (inputs / "c.mp4").write_bytes(b"vanishes")
        assert run(inputs, work).count("failed") == 2
    assert [work.seen.count(f"{name}.mp4") for name in "abc"] == [3, 2, 2]


def test_what_failed_for_want_of_memory_is_tried_again(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("a", b"memory"), ("b", b"gpu"), ("c", b"decoder")):
        (inputs / f"{name}.mp4").write_bytes(content)
    work = Copier()
    for _ in range(2):
        summary = run(inputs, work)
        assert states(summary) == ["failed"] * 3
        assert not any(outcome.bug or outcome.failed_before for outcome in summary.outcomes)
    assert work.seen == ["a.mp4", "b.mp4", "c.mp4"] * 2
    assert "a.mp4: failed: memory ran out (MemoryError at " in capsys.readouterr().err
    failed = [line for line in ledger_lines(inputs) if line["status"] == "failed"]
    assert [line["kind"] for line in failed] == ["resources"] * 6
    assert "raise MemoryError" in failed[0]["traceback"]


def test_a_failed_file_that_is_named_otherwise_now(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inputs / "a.mp4").write_bytes(b"bad")
    run(inputs, Copier())
    monkeypatch.chdir(inputs)
    items = find_files([Path()], frozenset({".mp4"}))
    out = inputs.parent / "out"
    summary = run_batch(items, Copier(), settings={"k": 1}, artefacts=(".wav", ".json"), out_dir=out, label="copy")
    assert (summary.outcomes[0].error, summary.outcomes[0].failed_before) == ("a.mp4: is not a video", True)


def test_so_many_failures_are_enough(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abd":
        (inputs / f"{name}.mp4").write_bytes(b"bad")
    summary = run(inputs, Copier(), max_failures=2)
    assert (states(summary), summary.exit_code) == (["failed", "failed", "not tried", "not tried"], 1)
    assert summary.stopped == "stopped after 2 failures, as max_failures=2 asks for"
    assert "d2m: error: stopped after 2 failures" in capsys.readouterr().err
    # What failed before does not count.
    assert states(run(inputs, Copier(), max_failures=2)) == ["failed", "failed", "done", "failed"]
    assert states(run(inputs, Copier(), max_failures=2, retry_failed=True)) == ["failed"] * 2 + ["not tried"] * 2
