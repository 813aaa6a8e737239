from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from d2m_cli.batch import lines as module
from d2m_cli.batch.display import Results, close, display
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, Outcome
from d2m_cli.batch.pace import Pace
from d2m_cli.batch.shown import result_lines, screen_lines
from d2m_cli.batch.voice import say
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
ODD = "in/new\nline\x1b[2J\u202e.mp4"
ESCAPED = "in/new\\nline\\x1b[2J\\u202e.mp4"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mov").write_bytes(name.encode())
    return folder


def shell(inputs: Path, ending: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the batch of the tests with its streams led elsewhere; its exit code is the last line of stderr."""
    words = [sys.executable, "-m", "tests.batch.copying", str(inputs), str(inputs.parent / "out"), *options]
    line = f"{{ {shlex.join(words)} {ending}"
    # Without buffers Python would not notice at its end what could not be written.
    around = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=around, capture_output=True, text=True, check=False, timeout=60
    )


def made(inputs: Path) -> set[str]:
    return {path.name for path in (inputs.parent / "out").iterdir() if path.suffix == ".wav"}


def test_names_are_escaped_wherever_they_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = (
        Outcome(ODD, "done", {".wav": ODD + ".wav"}, summary="a\x07b", seconds=1.0),
        Outcome(ODD, "failed", error=f"{ODD}: is\rnot a video"),
    )
    results = Results()
    with display(2, "copy", results, BatchOptions()) as shown:
        for number, outcome in enumerate(outcomes):
            shown.start(number, ODD)
            shown.finish(number, outcome)
    close(BatchSummary("copy", Path("out"), {}, outcomes, False, f"can't write {ODD}", 1.0), results, json_out=False)
    captured = capsys.readouterr()
    assert captured.out == f"{ESCAPED}.wav\n"
    assert captured.err.splitlines() == [
        f"[1/2] {ESCAPED}: done in 1.0 s: a\\x07b; nearly done",
        f"[2/2] {ESCAPED}: failed: is\\rnot a video; 1 failed so far",
        "d2m copy: 1 done, 1 failed in 0:01",
        f"  failed: {ESCAPED}: is\\rnot a video",
        f"d2m: error: can't write {ESCAPED}",
    ]


def test_stdout_carries_paths_alone_and_a_screen_says_more() -> None:
    done = Outcome("a.mov", "done", {".wav": "a.wav", ".json": "a.json"}, summary="12.00 s")
    for outcome, head in ((done, ""), (replace(done, state="already done"), "already there ")):
        assert result_lines(outcome) == ["a.wav", "a.json"]
        assert screen_lines(outcome) == [f"{head}a.wav", f"{head}a.json  (12.00 s)"]
    # Of what a dry run names nothing is there to be opened.
    assert result_lines(Outcome("a.mov", "planned", {".wav": "a.wav"})) == ["would make a.wav"]


def test_long_work_is_not_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = 0.0, []
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))

    def come(count: int) -> bool:
        lines.extend(capsys.readouterr().err.splitlines())
        return len(lines) >= count

    with display(3, "copy", Results(), BatchOptions(json_out=True)) as shown:
        shown.start(0, "first")
        shown.finish(0, Outcome("first", "done", seconds=1.0))
        report = shown.start(1, "clip\n")
        now = 0.21
        wait_until(lambda: come(2))
        report("music, window 2 of 3", 0.374)
        shown.start(2, "other")("pose", 0.5)
        now = 0.42
        wait_until(lambda: come(3))
        now = 0.6
        time.sleep(0.3)  # as long as the thread that looks at the clock waits at most
        shown.finish(1, Outcome("clip\n", "done", seconds=1.0))
    now = 10.0
    time.sleep(0.3)
    come(4)
    for line, beginning in zip(
        lines,
        [
            "[1/3] first: done",
            "[1/3] still at clip\\n; ",
            "[1/3] still at clip\\n: music, window 2 of 3, 37 %; other: pose, 50 %; ",
            "[2/3] clip\\n: done",
        ],
        strict=True,
    ):
        assert line.startswith(beginning)


def test_the_time_left_counts_what_is_done_of_files_in_hand(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    pace = Pace(4, ("work",), now=lambda: now)
    with display(4, "copy", Results(), BatchOptions(json_out=True), pace) as shown:
        shown.start(0, "a")("pose", 0.2)
        report = shown.start(1, "b")
        now = 100.0
        report("pose", 0.5)
        shown.finish(0, Outcome("a", "done", seconds=100.0))
        report = shown.start(2, "c")
        now = 150.0
        report("pose", 0.5)
        shown.finish(1, Outcome("b", "failed", error="b: odd", seconds=150.0))
    assert capsys.readouterr().err.splitlines() == [
        # 1.3 files in 100 s: two that wait take 153.8 s; b, which is slower, (50 + 23.1) / 0.8 * 0.5 = 45.7 s.
        "[1/4] a: done in 100.0 s; about 3:20 left",
        # a counts 0.95 by now: (47.5 + 75 + 25) / (0.76 + 1 + 0.5) = 65.3 s a file; c (25 + 19.6) / 0.8 * 0.5 = 27.9 s.
        "[2/4] b: failed: odd; 1 failed so far, about 1:33 left",
    ]


def test_a_word_a_minute_is_enough_for_400_seconds() -> None:
    assert module.SILENCE_SECONDS == 60.0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_stdout_loses_no_result(inputs: Path, options: list[str]) -> None:
    done = shell(inputs, "> /dev/full; echo $? >&2; }", *options)
    assert made(inputs) == {"a.wav", "b.wav", "c.wav"}
    assert done.stderr.splitlines()[-1] == "1"
    assert done.stderr.count("results can't be listed on stdout (No space left on device); the work goes on") == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_goes_stops_nothing(inputs: Path) -> None:
    # The second file is made once the reader is gone.
    gone = inputs.parent / "gone"
    reader = f"bash -c 'head -n 1; exec <&-; touch {shlex.quote(str(gone))}'"
    done = shell(inputs, f"--wait-for {shlex.quote(str(gone))} --wait-from 2; echo $? >&2; }} | {reader}")
    assert made(inputs) == {"a.wav", "b.wav", "c.wav"}
    assert done.stdout == f"{inputs.parent / 'out' / 'a.wav'}\n"
    assert done.stderr.splitlines()[-1] == "0"
    assert "nobody reads stdout any more" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_stdout_stops_nothing(inputs: Path) -> None:
    done = shell(inputs, ">&-; echo $? >&2; }")
    assert made(inputs) == {"a.wav", "b.wav", "c.wav"}
    assert done.stderr.splitlines()[-1] == "0"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_closed_or_full_stderr_stops_nothing_and_stays_out_of_stdout(inputs: Path, stderr: str) -> None:
    done = shell(inputs, f"{stderr}; echo $?; }}", "--json")
    *document, code = done.stdout.splitlines()
    assert code == "0"
    assert json.loads("\n".join(document))["done"] == 3
    assert made(inputs) == {"a.wav", "b.wav", "c.wav"}


def test_say_without_a_stream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say("lost")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "stdout", None)
    results = Results()
    results.line("lost")
    assert results.lost is None


def test_a_pipe_that_nobody_reads(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    leader, follower = os.pipe()
    os.close(leader)
    with os.fdopen(follower, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        results = Results()
        results.line("one")
        results.line("two")
    assert results.lost is None


def test_of_several_pieces_for_one_video_each_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = (
        Outcome("in/a.mp4", "done", {".wav": "out/a_1.wav"}, seconds=1.0, piece="a_1", line="takes.csv: line 2"),
        Outcome("in/a.mp4", "failed", error="in/a.mp4: odd", piece="a_2", line="takes.csv: line 3"),
        Outcome("in/b.mp4", "failed", error="in/b.mp4: odd", line="takes.csv: line 4"),
        Outcome("in/c.mp4", "being made", piece="c_2"),
    )
    results = Results()
    with display(4, "generate", results, BatchOptions(json_out=True)) as shown:
        for number, outcome in enumerate(outcomes):
            shown.start(number, outcome.piece, outcome.input)
            shown.finish(number, outcome)
    close(BatchSummary("generate", Path("out"), {}, outcomes, False, None, 1.0), results, json_out=False)
    lines = [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "[1/4] in/a.mp4 (a_1): done in 1.0 s",
        "[2/4] in/a.mp4 (a_2, takes.csv: line 3): failed: odd",
        "[3/4] in/b.mp4 (takes.csv: line 4): failed: odd",
        "[3/4] in/c.mp4 (c_2): being made by another run",
        "d2m generate: 1 done, 1 being made, 2 failed in 0:01",
        "  failed: in/a.mp4 (a_2, takes.csv: line 3): odd",
        "  failed: in/b.mp4 (takes.csv: line 4): odd",
        "  being made by another run: in/c.mp4 (c_2)",
    ]
