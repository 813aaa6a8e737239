"""Processes that compute beside this one. Jobs are calls of Python's own functions: a process imports no test."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from d2m_cli.errors import InputError, UsageError
from d2m_cli.ground import workers
from d2m_cli.ground.workers import LostError, Workers
from d2m_cli.rhythm.io import load_rhythm
from tests.waiting import wait_until


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def none_stays() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_of_the_jobs(count: int) -> None:
    with Workers(count) as some:
        assert list(some.each(math.factorial, range(12))) == [math.factorial(number) for number in range(12)]
        assert list(some.each(math.factorial, [])) == []


def test_they_work_side_by_side_each_on_one_core(tmp_path: Path) -> None:
    meeting = f"""
        import os, pathlib, time
        pathlib.Path({str(tmp_path)!r}, str(os.getpid())).write_text(os.environ["OMP_NUM_THREADS"])
        begun = time.monotonic()
        while len(os.listdir({str(tmp_path)!r})) < 2:
            assert time.monotonic() - begun < 60
    """
    with Workers(2) as some:
        # Each waits for the other: one after the other they would not end.
        assert list(some.each(exec, [textwrap.dedent(meeting)] * 2)) == [None, None]
    written = list(tmp_path.iterdir())
    assert [path.read_text() for path in written] == ["1", "1"]
    assert str(os.getpid()) not in [path.name for path in written]


def test_no_more_jobs_are_taken_than_two_for_each(tmp_path: Path) -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(12):
            taken += 1
            yield number

    with Workers(2) as some:
        for count, _ in enumerate(some.each(math.sqrt, jobs())):
            assert taken - count <= 4


@pytest.mark.parametrize("count", [1, 2])
def test_an_input_that_is_no_good_is_told_and_the_rest_is_done(count: int, tmp_path: Path) -> None:
    missing = [tmp_path / "a.rhythm.json", tmp_path / "b.rhythm.json"]
    with Workers(count) as some:
        told = list(some.each(load_rhythm, missing))
    for path, error in zip(missing, told, strict=True):
        with pytest.raises(InputError) as here:
            load_rhythm(path)
        assert type(error) is type(here.value)
        assert str(error) == str(here.value)


@pytest.mark.parametrize("count", [1, 2])
def test_any_other_error_ends_all(count: int) -> None:
    with Workers(count) as some, pytest.raises(ValueError, match=r"math domain|nonnegative") as raised:
        list(some.each(math.sqrt, [4.0, -1.0, 9.0]))
    if count > 1:
        assert "Traceback" in raised.value.__notes__[0]


def test_a_process_that_dies_costs_its_job() -> None:
    dying = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with Workers(2) as some:
        first, lost, last = some.each(exec, ["pass", dying, "pass"])
    assert (first, last) == (None, None)
    assert isinstance(lost, LostError)
    assert "SIGKILL, most likely for want of memory" in str(lost)


def test_an_answer_that_can_not_be_sent_is_no_lost_process() -> None:
    with Workers(2) as some, pytest.raises((TypeError, AttributeError, RuntimeError), match="pickle"):
        list(some.each(eval, ["memoryview(b'no memory is shared between processes')"] * 2))


def test_one_that_can_not_start_is_no_fault_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_START", "raise SystemExit(3)")
    with Workers(2) as some, pytest.raises(UsageError, match="can't start: it ended with 3"):
        list(some.each(math.sqrt, [1.0, 4.0]))


def test_what_a_job_prints_does_not_come_between(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers(2) as some:
        assert list(some.each(exec, ["import os; os.write(1, b'words')"] * 3)) == [None] * 3
    assert capfd.readouterr().out == ""


_BUSY = """
    import sys
    from d2m_cli.ground.interrupts import Interruptible
    from d2m_cli.ground.workers import Workers

    job = "print('at it', flush=True)\\nwhile True: pass"
    try:
        with Interruptible(), Workers(2) as some:
            list(some.each(exec, [job] * 6))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupt_leaves_no_process(number: signal.Signals, code: int, tmp_path: Path) -> None:
    words = tmp_path / "words"
    with words.open("wb") as file:
        parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_BUSY)], stderr=file)
    wait_until(lambda: words.read_text().count("at it") == 2)
    working = psutil.Process(parent.pid).children(recursive=True)
    assert len(working) == 2
    parent.send_signal(number)
    assert parent.wait(60) == code
    assert psutil.wait_procs(working, 60)[1] == []
    assert words.read_text() == "at it\n" * 2
