"""What a batch does, says and remembers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.batch import runner
from d2m_cli.batch.options import BatchOptions, Shard
from d2m_cli.batch.runner import run_batch
from d2m_cli.errors import InputError
from d2m_cli.ground import digests as digests_of
from d2m_cli.ground import stamp
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.search import Found, search
from tests.batch.copier import Copier, run, states


def test_all_is_done_once(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = Copier()
    summary = run(inputs, work)
    out = inputs.parent / "out"
    assert (states(summary), summary.exit_code) == (["done"] * 3, 0)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}.{kind}" for name in "abc" for kind in ("wav", "json")] + [LEDGER_NAME]
    )
    assert (out / "b.wav").read_bytes() == b"b"
    captured = capsys.readouterr()
    assert captured.out.splitlines()[:2] == [str(out / "a.wav"), str(out / "a.json")]
    assert "[3/3]" in captured.err
    assert captured.err.splitlines()[0].startswith("[1/3] ")
    assert " s: copied; " in captured.err.splitlines()[0]
    summary = run(inputs, work)
    assert (states(summary), summary.exit_code) == (["already done"] * 3, 0)
    assert work.seen == ["a.mp4", "b.mp4", "c.mp4"]
    assert summary.outcomes[0].details == {"size": 1}


def test_what_changed_is_done_again(inputs: Path) -> None:
    work = Copier()
    run(inputs, work)
    (inputs / "b.mp4").write_bytes(b"new")
    (inputs.parent / "out" / "c.json").unlink()
    work.seen.clear()
    assert states(run(inputs, work)) == ["already done", "done", "done"]
    assert work.seen == ["b.mp4", "c.mp4"]
    assert states(run(inputs, work, settings={"k": 2})) == ["done"] * 3
    assert states(run(inputs, work)) == ["done"] * 3
    assert states(run(inputs, work, artefacts=(".wav",))) == ["already done"] * 3
    assert states(run(inputs, work, artefacts=(".wav", ".mp3"))) == ["done"] * 3
    assert states(run(inputs, work, artefacts=(".wav", ".mp3"), overwrite=True)) == ["done"] * 3


def test_settings_of_one_file_make_that_file_again_alone(inputs: Path) -> None:
    work = Copier()
    own = {"a": 1, "b": 2, "c": 3}

    def settings_of(item: Found) -> dict[str, int]:
        if item.path.stem not in own:
            raise InputError(f"{item.path}: nothing is known of it")
        return {"k": own[item.path.stem]}

    assert states(run(inputs, work, settings={"k": "own"}, own_settings=settings_of)) == ["done"] * 3
    own["b"] = 4
    work.seen.clear()
    # What the settings of all are then is of no matter.
    assert states(run(inputs, work, settings={"k": "other"}, own_settings=settings_of)) == [
        "already done",
        "done",
        "already done",
    ]
    assert work.seen == ["b.mp4"]
    # It is as if they had been the settings of all.
    assert states(run(inputs, work, settings={"k": 1}))[0] == "already done"
    del own["a"]
    summary = run(inputs, work, settings={"k": "own"}, own_settings=settings_of)
    assert (states(summary)[0], summary.exit_code) == ("failed", 1)
    assert summary.outcomes[0].error == f"{inputs / 'a.mp4'}: nothing is known of it"


def test_an_interrupt_gives_the_summary_so_far(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"stop")
    summary = run(inputs, Copier(), json_out=True)
    assert (states(summary), summary.exit_code) == (["done", "not tried", "not tried"], 130)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["interrupted"] is True
    assert "run the same command again" in captured.err


def test_json_is_one_document(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "b.mp4").write_bytes(b"bad")
    run(inputs, Copier(), json_out=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["command"], document["done"], document["failed"], document["exit_code"]) == ("copy", 2, 1, 1)
    assert document["items"][0]["artefacts"][".wav"] == str(inputs.parent / "out" / "a.wav")
    assert document["items"][0]["details"] == {"size": 1}
    assert "is not a video" in document["items"][1]["error"]


def test_a_dry_run_writes_nothing(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = Copier()
    summary = run(inputs, work, dry_run=True)
    assert (states(summary), work.seen) == (["planned"] * 3, [])
    assert not (inputs.parent / "out").exists()
    assert f"would make {inputs.parent / 'out' / 'a.wav'}" in capsys.readouterr().out
    run(inputs, work)
    (inputs / "c.mp4").write_bytes(b"new")
    assert states(run(inputs, work, dry_run=True)) == ["already done", "already done", "planned"]


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read for their digest."""
    read: list[str] = []
    really = digests_of.content_digest

    def spy(path: Path) -> str:
        read.append(path.name)
        return really(path)

    monkeypatch.setattr(stamp, "content_digest", spy)
    return read


def test_what_is_done_is_not_read_again_but_to_verify(inputs: Path, digests: list[str]) -> None:
    for path in inputs.iterdir():
        stamp.settle(path)
    run(inputs, Copier())
    assert sorted(digests) == sorted(f"{name}.{kind}" for name in "abc" for kind in ("mp4", "wav", "json"))
    digests.clear()
    assert states(run(inputs, Copier())) == ["already done"] * 3
    assert digests == []
    assert states(run(inputs, Copier(), verify=True)) == ["already done"] * 3
    assert len(digests) == 9
    # Copies with other times are read once, and then known.
    digests.clear()
    os.utime(inputs / "a.mp4", ns=(0, 5))
    os.utime(inputs.parent / "out" / "b.wav", ns=(0, 5))
    for path in (inputs / "a.mp4", inputs.parent / "out" / "b.wav"):
        stamp.settle(path)
    for _ in range(2):
        assert states(run(inputs, Copier())) == ["already done"] * 3
    assert digests == ["a.mp4", "b.wav"]
    assert states(run(inputs, Copier(), dry_run=True, verify=True)) == ["already done"] * 3


def test_another_version_of_d2m_makes_it_anew(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(inputs, Copier()).settings["d2m"] == runner.__version__  # type: ignore[attr-defined]
    monkeypatch.setattr(runner, "__version__", "99")
    assert states(run(inputs, Copier())) == ["done"] * 3


def test_what_is_done_needs_no_folder_that_can_be_written_to(inputs: Path) -> None:
    run(inputs, Copier())
    for path in (inputs / "a.mp4", inputs.parent / "out" / "a.wav"):
        os.utime(path, ns=(0, 5))
    (inputs.parent / "out" / LEDGER_NAME).chmod(0o444)
    user = os.geteuid()
    (inputs.parent / "out").chmod(0o555)
    if user == 0:
        for folder in [inputs.parent, *inputs.parent.parents]:
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o5:
                folder.chmod(folder.stat().st_mode | 0o55)
        os.seteuid(65534)
    try:
        summary = run(inputs, Copier())
        other = run(inputs, Copier(), settings={"k": 2})
    finally:
        os.seteuid(user)
    assert (states(summary), summary.exit_code) == (["already done"] * 3, 0)
    # One word for all: none of the others could be written either.
    assert (states(other), other.exit_code) == (["failed", "not tried", "not tried"], 1)
    assert "no permission to write there" in (other.stopped or "")


def test_what_was_passed_over_is_told(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "dead\n.mp4").symlink_to("nowhere")
    found = search([inputs], frozenset({".mp4"}))
    summary = run(inputs, Copier(), passed_over=found.passed_over, json_out=True)
    assert summary.exit_code == 0
    captured = capsys.readouterr()
    assert f"d2m: passed over: {inputs}/dead\\n.mp4 is a symbolic link that leads nowhere" in captured.err
    assert "3 done, 1 passed over" in captured.err
    assert json.loads(captured.out)["passed_over"] == [
        {"path": f"{inputs}/dead\n.mp4", "reason": "is a symbolic link that leads nowhere"}
    ]


def test_shares_are_the_whole_each_file_once(inputs: Path) -> None:
    for number in range(20):
        (inputs / f"{number}.mp4").write_bytes(b"%d" % number)
    shares = [Copier() for _ in range(3)]
    for number, work in enumerate(shares, 1):
        assert run(inputs, work, shard=Shard(number, 3)).exit_code == 0
    names = [name for work in shares for name in work.seen]
    assert sorted(names) == sorted(path.name for path in inputs.iterdir())
    assert all(work.seen for work in shares)
    assert states(run(inputs, Copier())) == ["already done"] * 23
    # A file stays in its share when others come.
    (inputs / "00.mp4").write_bytes(b"new")
    for number, work in enumerate(shares, 1):
        found = run(inputs, Copier(), shard=Shard(number, 3), overwrite=True)
        assert {Path(one.input).name for one in found.outcomes} - {"00.mp4"} == set(work.seen)


def test_results_are_named_alike_in_whatever_share_their_files_are(inputs: Path) -> None:
    suffixes = frozenset({".mp4", ".avi"})
    for name in ("a.avi", "d.avi", "e.avi"):
        (inputs / name).write_bytes(name.encode())
    items = search([inputs], suffixes).found
    arguments: dict[str, Any] = {"settings": {}, "artefacts": (".wav",), "label": "copy"}
    run_batch(items, Copier(), out_dir=inputs.parent / "whole", **arguments)
    for number in (4, 2, 1, 3):
        options = BatchOptions(shard=Shard(number, 4))
        run_batch(items, Copier(), out_dir=inputs.parent / "parts", options=options, **arguments)
    whole, parts = (
        {path.name: path.read_bytes() for path in (inputs.parent / name).glob("*.wav")} for name in ("whole", "parts")
    )
    assert parts == whole
    assert len(whole) == 6


def test_an_empty_share_is_no_failure(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = next(number for number in range(1, 50) if not any(Shard(number, 50).holds(Path(name)) for name in "abc"))
    summary = run(inputs, Copier(), shard=Shard(empty, 50))
    assert (summary.outcomes, summary.exit_code) == ((), 0)
    assert "d2m copy: no files in 0:00" in capsys.readouterr().err
