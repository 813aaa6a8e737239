"""Several files in hand at once: what ends one, what ends all, and what the ledger says then."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.batch.crew import in_turn, side_by_side
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, Work, run_batch
from d2m_cli.errors import MissingWeightsError, VideoError
from d2m_cli.ground.files import output_error
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import find_files
from tests.batch.test_runs import launch, lines, results, states, wait_for
from tests.batch.test_runs import run as run_process

LONG = 60.0
"""Seconds that no test waits: work that takes so long was interrupted, or the test fails by its time."""


def wait(seconds: float) -> None:
    """In steps, as work that goes on has them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcdef":
        (folder / f"{name}.mov").write_bytes(name.encode())
    return folder


def copy(job: Job) -> ItemResult:
    for path in job.artefacts.values():
        path.write_bytes(job.path.read_bytes())
    return ItemResult("copied")


def run(inputs: Path, work: Work, workers: int, **options: Any) -> BatchSummary:
    return run_batch(
        find_files([inputs], frozenset({".mov"})),
        work,
        settings={},
        artefacts=(".wav", ".json"),
        out_dir=inputs.parent / "out",
        options=BatchOptions(**options),
        label="copy",
        workers=workers,
    )


def statuses(inputs: Path) -> Counter[tuple[str, str]]:
    return Counter((Path(line["input"]).stem, line["status"]) for line in lines(inputs.parent / "out"))


def test_so_many_are_under_way_at_once_and_each_number_is_taken_once() -> None:
    together, done = threading.Barrier(4), []

    def do(number: int) -> None:
        together.wait(LONG)
        done.append(number)

    side_by_side(range(20), do, 4)
    assert sorted(done) == list(range(20))
    side_by_side((), do, 4)
    side_by_side((), do, 0)


def test_the_first_error_ends_all() -> None:
    ended, together = [], threading.Barrier(5)

    def do(number: int) -> None:
        try:
            together.wait(LONG / 4)
            if number == 3:
                raise ZeroDivisionError
            wait(LONG)
        except KeyboardInterrupt:
            ended.append(number)
            raise

    begun, before = time.monotonic(), set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        side_by_side(range(100), do, 5)
    assert time.monotonic() - begun < LONG / 2
    assert sorted(ended) == [0, 1, 2, 4]
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("d2m-")]


def test_many_make_what_one_makes(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "c.mov").write_bytes(b"bad")
    together = threading.Barrier(3)

    def work(job: Job, report: Report) -> ItemResult:
        together.wait(LONG)
        if job.path.read_bytes() == b"bad":
            raise VideoError(f"{job.path}: is not a video")
        return copy(job)

    summary = run(inputs, work, 3)
    assert [outcome.state for outcome in summary.outcomes] == ["done", "done", "failed", "done", "done", "done"]
    out = inputs.parent / "out"
    assert {name: text for name, text in results(out).items() if name.endswith(".wav")} == {
        f"{name}.wav": name.encode() for name in "abdef"
    }
    assert statuses(inputs) == Counter(
        {(name, status): 1 for name in "abdef" for status in ("started", "placing", "done")}
        | {("c", "started"): 1, ("c", "failed"): 1}
    )
    err = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in err[:6]] == [f"[{number}/6]" for number in range(1, 7)]
    # All that is done is known to the next run, with however many.
    summary = run(inputs, work, 4)
    assert [outcome.state for outcome in summary.outcomes] == ["already done"] * 2 + ["failed"] + ["already done"] * 3


@pytest.mark.parametrize("kind", ["weights", "disk", "failures", "interrupt"])
def test_what_stops_one_stops_all_and_the_ledger_is_right(inputs: Path, kind: str) -> None:
    (inputs / "b.mov").write_bytes(b"stop")
    begun = threading.Barrier(4)

    def work(job: Job, report: Report) -> ItemResult:
        begun.wait(LONG / 4)
        if job.path.read_bytes() != b"stop":
            wait(LONG)
        elif kind == "weights":
            raise MissingWeightsError("no weights")
        elif kind == "disk":
            raise output_error(job.artefacts[".wav"], OSError(28, "full"), whole=True)
        elif kind == "failures":
            raise VideoError("is not a video")
        else:
            raise KeyboardInterrupt
        return copy(job)

    started = time.monotonic()
    if kind == "weights":
        with pytest.raises(MissingWeightsError):
            run(inputs, work, 4)
    else:
        summary = run(inputs, work, 4, max_failures=1)
        own = "not tried" if kind == "interrupt" else "failed"
        assert [outcome.state for outcome in summary.outcomes] == ["not tried", own] + ["not tried"] * 4
        assert summary.exit_code == (130 if kind == "interrupt" else 1)
        assert (summary.stopped is None) == (kind == "interrupt")
    assert time.monotonic() - started < LONG / 2
    ending = "failed" if kind in ("disk", "failures") else "interrupted"
    assert statuses(inputs) == Counter(
        {(name, "started"): 1 for name in "abcd"} | {(name, "interrupted"): 1 for name in "acd"} | {("b", ending): 1}
    )
    # Nothing of it lies about, and nothing is held against what was in hand.
    assert [path.name for path in (inputs.parent / "out").iterdir()] == [LEDGER_NAME]
    (inputs / "b.mov").write_bytes(b"b")
    assert [outcome.state for outcome in run(inputs, lambda job, report: copy(job), 4).outcomes] == ["done"] * 6


def test_control_c_ends_all_that_is_in_hand(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = launch(inputs, out, "--json", "--workers", 3, "--wait-for", tmp_path / "never")
    for _ in range(3):
        wait_for(process, "at ")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LONG)
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    assert set(states(json.loads(stdout)).values()) == {"not tried"}
    assert results(out) == {}
    assert statuses(inputs) == Counter({(name, status): 1 for name in "abc" for status in ("started", "interrupted")})
    assert run_process(inputs, out, "--workers", 3)[0] == 0


@pytest.mark.slow
def test_innocents_in_hand_when_d2m_died_are_not_left_out(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in "abc":
        (inputs / f"{name}.mov").write_bytes(b"killer" if name == "c" else b"slow " + name.encode())
    died = []
    for _ in range(5):
        code = run_process(inputs, out, "--workers", 3, "--seconds", "0.2")[0]
        died.append(code == -signal.SIGKILL)
    # Once those that were in hand together are tried one by one, the one is found.
    assert died[-1] is False
    code, document, _ = run_process(inputs, out, "--workers", 3)
    assert code == 1
    assert states(document) == {**dict.fromkeys([f"{name}.mov" for name in "abdef"], "already done"), "c.mov": "failed"}
    assert "d2m itself ended 3 times in a row" in document["items"][2]["error"]


@pytest.mark.slow
def test_two_runs_of_many_share_the_work(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(20):
        (inputs / f"{number}.mov").write_bytes(b"%d" % number)
    both = [launch(inputs, out, "--json", "--workers", 3, "--seconds", "0.1") for _ in range(2)]
    for process in both:
        stdout, _ = process.communicate(timeout=2 * LONG)
        assert process.returncode == 0
        assert set(states(json.loads(stdout)).values()) <= {"done", "already done"}
    assert Counter(line["status"] for line in lines(out)) == {"started": 26, "placing": 26, "done": 26}
    assert run_process(inputs, tmp_path / "alone")[0] == 0
    assert results(out) == results(tmp_path / "alone")


def test_status_knows_all_that_is_in_hand(inputs: Path, tmp_path: Path) -> None:
    from d2m_cli.batch.status import folder_status

    out = tmp_path / "out"
    process = launch(inputs, out, "--workers", 3, "--wait-for", tmp_path / "never")
    for _ in range(3):
        wait_for(process, "at ")
    (command,) = folder_status(out)
    assert (command.in_hand, command.waiting, command.done) == (3, 3, 0)
    process.kill()
    process.communicate()
    (command,) = folder_status(out)
    assert (command.in_hand, command.waiting, command.left_behind) == (0, 0, 3)


def test_groups_take_turns_so_many_at_once() -> None:
    assert list(in_turn(range(7), "aaabbcd".__getitem__, 2)) == [0, 3, 1, 4, 2, 5, 6]
    assert list(in_turn(range(7), "aaabbcd".__getitem__, 8)) == [0, 3, 5, 6, 1, 4, 2]
    assert list(in_turn((4, 2, 0), "aaabbcd".__getitem__, 1)) == [4, 2, 0]
    assert list(in_turn((), str, 3)) == []
