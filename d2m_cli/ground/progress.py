"""What a training tells while it runs: bars on a terminal, plain lines in a log, nothing from helper processes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from d2m_cli.ground.event_log import Event, Tell
from d2m_cli.ground.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def is_main_process() -> bool:
    """Whether this is the only process of a training, or the first of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


class Report(Protocol):
    """How work tells where it is."""

    def __call__(self, step: str, fraction: float = 0.0) -> None:
        """Show a step ("pose", "music window 2 of 3") and how much of the file is done, 0 to 1."""


def silent(step: str, fraction: float = 0.0) -> None:
    """A `Report` that tells nobody."""


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


class Steps:
    """The steps of a stage, and how long the rest of them takes.

    The first step is left out of that: much is loaded and compiled on the way to it.

    Parameters
    ----------
    total
        How many there are.
    done
        How many lay behind before this began.
    now
        A clock, in seconds.
    """

    def __init__(self, total: int, done: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done = total, done
        self._now = now
        self._first: tuple[int, float] | None = None
        self._last = (done, now())

    def advance(self, steps: int) -> None:
        """So many more are done."""
        self.done += steps
        self._last = (self.done, self._now())
        if self._first is None and steps > 0:
            self._first = self._last

    def left(self) -> float | None:
        """Seconds until all are done; None before the second step."""
        done, at = self._last
        if self._first is None or done == self._first[0]:
            return None
        each = (at - self._first[1]) / (done - self._first[0])
        # The clock goes on while a step does.
        return max((self.total - done) * each - min(self._now() - at, each), 0.0)


class Progress:
    """Stages of a long piece of work, on stderr.

    Parameters
    ----------
    quiet
        Say nothing at all.
    every
        Seconds between two lines of a stage where stderr is no terminal.
    tell
        Told the same as events: each line, and each stage with the seconds that it took.
    """

    def __init__(self, *, quiet: bool = False, every: float = 30.0, tell: Tell | None = None) -> None:
        self.quiet = quiet
        self._every = every
        self._tell = tell
        self._console: Console | None = None

    def say(self, line: str) -> None:
        """One line."""
        if self.quiet:
            return
        self._print(line)
        if self._tell is not None:
            self._tell(Event("note", line))

    def _print(self, line: str) -> None:
        console = self._console
        if console is not None:
            # A line must go above the bar, not through it.
            console.print(printable(line), markup=False, highlight=False)
        else:
            print(printable(line), file=sys.stderr, flush=True)

    def show(self, table: Table) -> None:
        """A table."""
        from rich.console import Console

        if not self.quiet:
            # Off a terminal rich takes 80 columns, which would fold long lines.
            Console(stderr=True, width=None if sys.stderr.isatty() else 120).print(table)

    @contextmanager
    def stage(self, label: str, total: int, done: int = 0) -> Iterator[Advance]:
        """A stretch of work of a known number of steps, of which some may lie behind already."""
        if self.quiet or total == 0:
            yield _nothing
            return
        begun, steps = time.monotonic(), Steps(total, done)
        with self._bar(label, steps) if is_terminal() else self._lines(label, steps) as advance:
            yield advance
        self._end(label, begun, items=total)

    @contextmanager
    def busy(self, label: str) -> Iterator[None]:
        """A stretch of work of which nobody knows how far it is: it is named, and on a terminal something moves."""
        if self.quiet:
            yield
            return
        begun = time.monotonic()
        with self._spinner(label) if is_terminal() else self._lines(label, Steps(0)):
            yield
        self._end(label, begun)

    def _end(self, label: str, begun: float, **fields: int) -> None:
        if self._tell is not None:
            seconds = round(time.monotonic() - begun, 3)
            self._tell(Event("stage", "", {"stage": label, **fields, "seconds": seconds}))

    @contextmanager
    def _spinner(self, label: str) -> Iterator[None]:
        from rich.console import Console

        console = Console(stderr=True)
        with console.status(label, spinner="line"):
            self._console = console
            try:
                yield
            finally:
                self._console = None

    @contextmanager
    def _bar(self, label: str, passed: Steps) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column
        from rich.text import Text

        class Left(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(_left_in_words(passed) or "estimating", "cyan")

        columns = (
            SpinnerColumn("line"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            Left(),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        )
        console = Console(stderr=True)
        with RichProgress(*columns, console=console, redirect_stdout=False, transient=True) as bars:
            task = bars.add_task(label, total=passed.total, completed=passed.done, note="")
            self._console = console

            def advance(steps: int = 1, note: str = "") -> None:
                passed.advance(steps)
                bars.update(task, advance=steps, note=note)

            try:
                yield advance
            finally:
                self._console = None

    @contextmanager
    def _lines(self, label: str, passed: Steps) -> Iterator[Advance]:
        begun = told = time.monotonic()
        beside = ""
        over = threading.Event()
        guard = threading.Lock()

        def tell() -> None:
            nonlocal told
            told = time.monotonic()
            left = _left_in_words(passed)
            count = f": {passed.done} of {passed.total}" if passed.total else f": at it for {told - begun:.0f} s"
            self._print(f"{label}{count}{', ' + beside if beside else ''}{', ' + left if left else ''}")

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal beside
            with guard:
                passed.advance(steps)
                beside = note
                now = time.monotonic()
                whole = passed.done == passed.total and now - begun >= self._every
                if now - told >= self._every or whole:
                    tell()

        def remind() -> None:
            # A step may take long.
            while not over.wait(max(0.01, told + 2 * self._every - time.monotonic())):
                with guard:
                    if time.monotonic() - told >= 2 * self._every and not over.is_set():
                        tell()

        reminder = threading.Thread(target=remind, daemon=True)
        reminder.start()
        try:
            yield advance
        finally:
            over.set()


def is_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be written anew."""
    if sys.stderr is None or not sys.stderr.isatty():
        return False
    from rich.console import Console

    return not Console(stderr=True).is_dumb_terminal


def clock(seconds: float) -> str:
    """A length of time as "1:02:03", without hours where there are none."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def left_in_words(seconds: float) -> str:
    """What is left of some work, as measured: "about 1:02 left"."""
    # Zero would be a lie for as long as it is shown.
    return f"about {clock(seconds)} left" if seconds >= 0.5 else "nearly done"


def _left_in_words(steps: Steps) -> str:
    left = steps.left() if steps.done < steps.total else None
    return "" if left is None else left_in_words(left)


def _nothing(steps: int = 1, note: str = "") -> None:
    pass


def quiet_libraries() -> None:
    """No bars of the libraries' own beside ours."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
