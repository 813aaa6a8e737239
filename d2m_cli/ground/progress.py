"""What a training tells while it runs: bars on a terminal, plain lines in a log, nothing from helper processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.table import Table


def is_main_process() -> bool:
    """Whether this is the only process of a training, or the first of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


class Report(Protocol):
    """How work tells where it is."""

    def __call__(self, step: str, fraction: float = 0.0) -> None:
        """Show a step ("pose", "music window 2 of 3") and how much of the file is done, 0 to 1."""


class StageReport(Report, Protocol):
    """How the work on one file of a batch tells where it is; what it is told are plain values.

    A fraction is that of the stage which the file is in; it begins in the first stage of its batch.
    """

    def stage(self, name: str, step: str = "") -> None:
        """A stage begins, and the one before has ended."""

    def wait(self, step: str) -> None:
        """Until the next report it waits: for another file, or for what is being loaded."""

    def length(self, seconds: float) -> None:
        """The file has so many seconds of video."""


class Advance(Protocol):
    """How work within a stage tells where it is."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more as done; `note` stands beside the bar."""


class Progress:
    """Stages of a long piece of work, on stderr.

    Parameters
    ----------
    quiet
        Say nothing at all.
    every
        Seconds between two lines of a stage where stderr is no terminal.
    """

    def __init__(self, *, quiet: bool = False, every: float = 30.0) -> None:
        self.quiet = quiet
        self._every = every
        self._console: object | None = None

    def say(self, line: str) -> None:
        """One line."""
        if self.quiet:
            return
        console = self._console
        if console is not None:
            # A line must go above the bar, not through it.
            console.print(line, markup=False, highlight=False)  # type: ignore[attr-defined]
        else:
            print(line, file=sys.stderr, flush=True)

    def show(self, table: Table) -> None:
        """A table."""
        from rich.console import Console

        if not self.quiet:
            # Off a terminal rich takes 80 columns, which would fold long lines.
            Console(stderr=True, width=None if sys.stderr.isatty() else 120).print(table)

    @contextmanager
    def stage(self, label: str, total: int) -> Iterator[Advance]:
        """A stretch of work of a known number of steps."""
        if self.quiet or total == 0:
            yield _nothing
        elif sys.stderr.isatty():
            with self._bar(label, total) as advance:
                yield advance
        else:
            yield self._lines(label, total)

    @contextmanager
    def _bar(self, label: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}", markup=False),
        )
        console = Console(stderr=True)
        with RichProgress(*columns, console=console, redirect_stdout=False, transient=True) as bars:
            task = bars.add_task(label, total=total, note="")
            self._console = console

            def advance(steps: int = 1, note: str = "") -> None:
                bars.update(task, advance=steps, note=note)

            try:
                yield advance
            finally:
                self._console = None

    def _lines(self, label: str, total: int) -> Advance:
        done, begun = 0, time.monotonic()
        told = begun

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done, told
            done += steps
            now = time.monotonic()
            if now - told >= self._every or (done == total and now - begun >= self._every):
                told = now
                left = round((now - begun) / max(done, 1) * (total - done))
                ending = f", about {left // 60}:{left % 60:02} left" if done < total else ""
                self.say(f"{label}: {done} of {total}{', ' + note if note else ''}{ending}")

        return advance


def _nothing(steps: int = 1, note: str = "") -> None:
    pass


def quiet_libraries() -> None:
    """No bars of the libraries' own beside ours."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
