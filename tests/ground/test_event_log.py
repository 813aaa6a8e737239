"""Logs in JSON lines: what they hold, and what becomes of one that can't be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.event_log import Event, EventLog


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").splitlines()]


def test_one_object_a_line_with_the_time_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"time": "before"}\n')
    log = EventLog(path, pytest.fail)
    log(Event("finished", "a: done", {"file": Path("a.mp4"), "results": ("a.wav",), "seconds": float("nan")}))
    log.close()
    log(Event("late"))
    before, line = lines(path)
    assert before == {"time": "before"}
    when = datetime.fromisoformat(str(line.pop("time")))
    assert when.utcoffset() == timedelta(0)
    assert abs(when.timestamp() - datetime.now().timestamp()) < 10
    assert len(str(line.pop("run"))) == 8
    assert line == {
        "event": "finished", "text": "a: done", "file": "a.mp4", "results": ["a.wav"], "seconds": None,
    }  # fmt: skip


def test_odd_names_stay_valid_json(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    name = os.fsdecode(b"in/new\nline\x1b[2J\xff\xc3\xa9.mp4")
    EventLog(path, pytest.fail)(Event("failed", f"{name}: odd", {"file": name, name: 1}))
    text = path.read_bytes().decode("utf-8")
    assert text.count("\n") == 1
    (line,) = lines(path)
    # A lone half of a surrogate pair is refused by many readers, also where it is escaped.
    assert line["file"] == "in/new\nline\x1b[2J\\udcffé.mp4"
    json.dumps(line, ensure_ascii=False).encode("utf-8")


def test_a_file_that_can_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"log .*none/run.jsonl: can't be written \(No such file"):
        EventLog(tmp_path / "none" / "run.jsonl", pytest.fail)
    with pytest.raises(UsageError, match="Is a directory"):
        EventLog(tmp_path, pytest.fail)


@pytest.mark.parametrize("held", [b"\0\0\0\x20ftypisom", b'{"event": "other"}\n', b"{", b'"time", b\n'])
def test_nothing_is_appended_to_what_is_no_log(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(held)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(UsageError, match=f"log .*{name.name}: is there and no log.*; name a new file"):
            EventLog(name, pytest.fail)
    assert path.read_bytes() == held


def test_what_begins_as_a_log_or_is_empty_is_one(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.touch()
    for _ in range(2):
        log = EventLog(path, pytest.fail)
        log(Event("one"))
        log.close()
    assert [line["event"] for line in lines(path)] == ["one", "one"]


def test_the_ledger_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "d2m-ledger.jsonl"
    with pytest.raises(UsageError, match="list of results that d2m keeps itself"):
        EventLog(path, pytest.fail)
    assert not path.exists()


def test_a_full_disk_is_told_once() -> None:
    told: list[str] = []
    log = EventLog(Path("/dev/full"), told.append)
    for _ in range(3):
        log(Event("note"))
    assert told == ["the log /dev/full can't be written (No space left on device); the work goes on without it"]
    assert log.lost == "No space left on device"


def test_a_reader_that_goes_is_no_loss(tmp_path: Path) -> None:
    told: list[str] = []
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = EventLog(pipe, told.append)
    log(Event("one"))
    assert json.loads(os.read(reader, 4096))["event"] == "one"
    os.close(reader)
    log(Event("two"))
    assert told == [f"nobody reads the log {pipe} any more; the work goes on without it"]
    assert log.lost is None


WRITER = """
import sys
from pathlib import Path
from d2m_cli.ground.event_log import Event, EventLog

log = EventLog(Path(sys.argv[1]), sys.exit)
for number in range(500):
    log(Event("finished", "x" * (number * 37 % 9000), {"number": number}))
"""


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    told = lines(path)
    runs = {line["run"] for line in told}
    assert len(runs) == 4
    for run in runs:
        assert [line["number"] for line in told if line["run"] == run] == list(range(500))
