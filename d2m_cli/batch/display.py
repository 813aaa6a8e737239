"""What the user sees of a batch: results on stdout, progress and errors on stderr, a bar where that is a terminal."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, Outcome
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.options import option
from d2m_cli.ground.printable import printable
from d2m_cli.ground.progress import Report
from d2m_cli.ground.stdout import Stdout

SILENCE_SECONDS = 60.0
"""Off a terminal, the longest time without a word."""


class Display(Protocol):
    """Shows where a batch is. Several files may be in hand at once."""

    def start(self, number: int, name: str) -> Report:
        """Work on the file of this number, from 0, begins; what is returned is told where that is."""
        ...

    def finish(self, number: int, outcome: Outcome) -> None:
        """It came to this; to be called by one thread at a time."""
        ...


class Results:
    """Lines on stdout, and what became of stdout.

    Results are made whether they can be listed or not. Where nobody listens any more (a closed pipe, a closed stdout)
    that is all right; where a line is lost for another reason (full disk) `lost` says so, for the exit code.

    Attributes
    ----------
    lost
        Why a line could not be written, or None.
    """

    def __init__(self) -> None:
        self.lost: str | None = None
        # As it is now: while a library is loaded, a thread may lead it elsewhere.
        self._out = sys.stdout
        self._over = False

    def line(self, text: str) -> None:
        """Print one line; the first that can't be printed is the last that is tried."""
        out = self._out
        if self._over or out is None or (isinstance(out, Stdout) and out.absent):
            return
        try:
            print(text, file=out, flush=True)
            if isinstance(out, Stdout) and out.lost is not None:
                out.told = True
                raise out.lost
        except BrokenPipeError:
            self._give_up("nobody reads stdout any more; the work goes on, and its results are not listed")
        except OSError as error:
            self.lost = error.strerror or str(error)
            self._give_up(f"results can't be listed on stdout ({self.lost}); the work goes on")

    def _give_up(self, reason: str) -> None:
        self._over = True
        # What lies in the buffer would be tried again at the end of the program, with a traceback.
        with suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._out.fileno())
            os.close(nothing)
        say(f"d2m: {reason}")


def say(text: str) -> None:
    """One line on stderr, where there is one; work does not end because nobody can be told of it."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        # In one piece: of what several threads print, line and line end would come apart.
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


@contextmanager
def display(total: int, label: str, results: Results, options: BatchOptions) -> Iterator[Display]:
    """The display for stderr as it is.

    Parameters
    ----------
    total
        How many files there are.
    label
        The command.
    results
        Where results are listed.
    options
        A dry run says nothing of progress; with `json_out` results are not listed one by one.
    """
    if options.dry_run or sys.stderr is None or not sys.stderr.isatty():
        with _Lines(total, results, options) as lines:
            yield lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[step]}", markup=False),
    )
    # stdout is left alone: it may lead to a file, where nothing but results belongs.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True) as progress:
        yield _Bar(progress, progress.add_task(label, total=total, step=""), results, options)


class _Lines:
    """Lines for a log file: one when a file is finished, and one a minute while a file takes longer."""

    def __init__(self, total: int, results: Results, options: BatchOptions) -> None:
        self._total, self._results, self._options = total, results, options
        self._begun = self._spoke = time.monotonic()
        self._ended = self._worked = 0
        # Number of each file in hand to its name, and where it is; and to how much of it is done.
        self._at: dict[int, str] = {}
        self._done: dict[int, float] = {}
        self._over = threading.Event()
        self._reminder = threading.Thread(target=self._remind, daemon=True)

    def __enter__(self) -> _Lines:
        self._reminder.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()

    def start(self, number: int, name: str) -> Report:
        self._at[number] = name

        def report(step: str, fraction: float = 0.0) -> None:
            self._done[number] = min(max(fraction, 0.0), 1.0)
            share = f", {100 * min(fraction, 1.0):.0f} %" if fraction > 0 else ""
            self._at[number] = f"{name}: {step}{share}"

        return report

    def finish(self, number: int, outcome: Outcome) -> None:
        self._at.pop(number, None)
        self._done.pop(number, None)
        # One that another run had in hand ends twice.
        self._ended = min(self._ended + 1, self._total)
        if not self._options.json_out:
            for line in _result_lines(outcome):
                self._results.line(line)
        if self._options.dry_run:
            return
        self._worked += outcome.state in ("done", "failed") and not outcome.failed_before
        left = self._total - self._ended
        line = f"[{self._ended}/{self._total}] {_line(outcome)}"
        if left and self._worked:
            line += f", about {clock(self._seconds(left))} left"
        self._say(line)
        for line in _traceback_lines(outcome) if self._options.verbose else ():
            self._say(line)

    def _seconds(self, left: int) -> float:
        """How long the files take that have not ended: the time so far also went into those in hand."""
        in_hand = sum(list(self._done.values()))
        return (time.monotonic() - self._begun) / (self._worked + in_hand) * max(0.0, left - in_hand)

    def _say(self, line: str) -> None:
        say(line)
        self._spoke = time.monotonic()

    def _remind(self) -> None:
        while not self._over.wait(max(0.01, self._spoke + SILENCE_SECONDS - time.monotonic())):
            if time.monotonic() - self._spoke >= SILENCE_SECONDS:
                self._say(self._now())

    def _now(self) -> str:
        at = list(self._at.values())
        number = min(self._ended + 1, self._total)
        return f"[{number}/{self._total}] still at {'; '.join(at)}" if at else "d2m: still at work"


class _Bar:
    """A bar on a terminal, and one line above it for each finished file."""

    def __init__(self, progress: Any, task: Any, results: Results, options: BatchOptions) -> None:
        self._progress, self._task, self._results = progress, task, results
        self._options = options
        self._ended = 0
        # Number of each file in hand to how much of it is done.
        self._done: dict[int, float] = {}

    def start(self, number: int, name: str) -> Report:
        def report(step: str, fraction: float = 0.0) -> None:
            self._done[number] = min(max(fraction, 0.0), 1.0)
            others = f" (and {len(self._done) - 1} more)" if len(self._done) > 1 else ""
            self._update(printable(f"{name}: {step}{others}" if step else name))

        report("")
        return report

    def _update(self, step: str) -> None:
        done = min(self._ended + sum(list(self._done.values())), self._progress.tasks[self._task].total)
        self._progress.update(self._task, completed=done, step=step)

    def finish(self, number: int, outcome: Outcome) -> None:
        self._done.pop(number, None)
        self._ended += 1
        self._update("")
        console = self._progress.console
        if outcome.state == "failed":
            console.print(printable(_line(outcome)), style="red", markup=False, highlight=False)
            for line in _traceback_lines(outcome) if self._options.verbose else ():
                console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        if self._options.json_out:
            return
        for line in _result_lines(outcome):
            if sys.stdout is not None and sys.stdout.isatty():
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                self._results.line(line)


def close(summary: BatchSummary, results: Results, *, json_out: bool) -> None:
    """Say how the batch ended."""
    if json_out:
        results.line(json.dumps(summary.to_json(), indent=2, default=str))
    counts = [
        f"{summary.count(state)} {state}"
        for state in ("done", "already done", "being made", "planned", "failed", "not tried")
        if summary.count(state)
    ]
    if summary.passed_over:
        counts.append(f"{len(summary.passed_over)} passed over")
    say(f"d2m {summary.label}: {', '.join(counts) or 'no files'} in {clock(summary.seconds)}")
    for outcome in summary.outcomes:
        if outcome.state == "failed" and outcome.error != summary.stopped:
            say(f"  failed: {outcome.input}: {outcome.cause}")
        elif outcome.state == "being made":
            say(f"  being made by another run: {outcome.input}")
    if summary.failed_before:
        say(
            f"d2m: {summary.failed_before} of the failed were not tried again: they would fail as before; "
            f"{option('retry_failed', True)} tries them"
        )
    if summary.stopped is not None:
        say(f"d2m: error: {summary.stopped}")
    if summary.interrupted:
        say(f"interrupted; run the same command again to go on ({LEDGER_NAME} knows what is done)")


def _result_lines(outcome: Outcome) -> list[str]:
    if outcome.state in ("failed", "being made"):
        return []
    head = {"planned": "would make ", "already done": "already there "}.get(outcome.state, "")
    tail = f"  ({outcome.summary})" if outcome.summary else ""
    lines = [head + path for path in outcome.artefacts.values()]
    return [printable(line) for line in [*lines[:-1], lines[-1] + tail]] if lines else []


def _line(outcome: Outcome) -> str:
    if outcome.state == "failed":
        again = " (as before; not tried again)" if outcome.failed_before else ""
        return f"{outcome.input}: failed: {outcome.cause}{again}"
    if outcome.state == "done":
        return f"{outcome.input}: done in {outcome.seconds:.1f} s"
    if outcome.state == "being made":
        return f"{outcome.input}: being made by another run"
    return f"{outcome.input}: {outcome.state}"


def _traceback_lines(outcome: Outcome) -> list[str]:
    return (outcome.traceback or "").splitlines()


def clock(seconds: float) -> str:
    """A length of time as "1:02:03", without hours where there are none."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
