"""What is told of a batch wherever it is shown: which files are in hand, how far all are, what became of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import Outcome
from d2m_cli.batch.pace import Ended, Pace
from d2m_cli.batch.voice import say, tell
from d2m_cli.ground.event_log import Event
from d2m_cli.ground.printable import printable
from d2m_cli.ground.progress import StageReport, left_in_words
from d2m_cli.ground.stdout import Stdout


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


_THROUGH = {"look": "looked at", "rhythm": "rhythm read", "music": "music made", "write": "written"}
"""How the count of each stage is called."""


class Shown:
    """What both kinds of display know: which files are in hand, and how far all of them are."""

    def __init__(self, total: int, label: str, results: Results, options: BatchOptions, pace: Pace) -> None:
        self._total, self._label, self._results, self._options, self._pace = total, label, results, options, pace
        self._ended: set[int] = set()
        self._failed = 0
        # Number of each file in hand to its name and where it is, and what is being loaded.
        self._at: dict[int, str] = {}
        self._loading: list[str] = []

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def start(self, number: int, name: str, file: str = "") -> StageReport:
        self._at[number] = name
        self._pace.start(number)
        return FileReport(number, name, file or name, self._at, self._pace)

    def finish(self, number: int, outcome: Outcome) -> None:
        self._at.pop(number, None)
        made, elsewhere = outcome.state == "done", outcome.state == "being made"
        tried = made or (outcome.state == "failed" and not outcome.failed_before)
        _tell_stages(outcome.input, self._pace.finish(number, done=made, tried=tried))
        # What another run has in hand is looked at again.
        if not elsewhere:
            self._ended.add(number)
        self._failed += outcome.state == "failed"
        tell(_event(outcome))

    def hear(self, event: Event) -> None:
        """Loading is counted apart from what the files take."""
        if event.name == "loading":
            self._loading.append(str(event.fields["what"]))
            self._pace.loading(True)
        elif event.name in ("loaded", "not loaded"):
            self._loading.remove(str(event.fields["what"]))
            self._pace.loading(False)

    @property
    def _count(self) -> str:
        return f"{len(self._ended)}/{self._total}"

    @property
    def _time_left(self) -> str:
        """In words; "" where there is nothing to tell it from, or nothing left."""
        left = self._pace.left() if len(self._ended) < self._total else None
        return "" if left is None else left_in_words(left)

    def _stages(self) -> str:
        """How many files went through each stage in this run; "" where all have one."""
        through = dict(self._pace.through)
        return ", ".join(f"{_THROUGH.get(name, name)} {count}" for name, count in through.items()) * (len(through) > 1)


class FileReport:
    """Tells a display where the work on one file is."""

    def __init__(self, number: int, name: str, file: str, at: dict[int, str], pace: Pace) -> None:
        self._number, self._name, self._file, self._at, self._pace = number, name, file, at, pace

    def __call__(self, step: str, fraction: float = 0.0) -> None:
        self._pace.at(self._number, fraction)
        self._show(step, fraction)

    def stage(self, name: str, step: str = "") -> None:
        _tell_stages(self._file, self._pace.stage(self._number, name))
        if step:
            self._show(step)

    def wait(self, step: str) -> None:
        self._pace.wait(self._number)
        self._show(step)

    def length(self, seconds: float) -> None:
        self._pace.length(self._number, seconds)

    def _show(self, step: str, fraction: float = 0.0) -> None:
        share = f", {100 * min(fraction, 1.0):.0f} %" if fraction > 0 else ""
        self._at[self._number] = f"{self._name}: {step}{share}" if step else self._name


def _tell_stages(file: str, ended: Iterable[Ended]) -> None:
    for one in ended:
        tell(Event("stage", "", {"file": file, "stage": one.stage, "seconds": round(one.seconds, 3)}))


def _event(outcome: Outcome) -> Event:
    """The end of one file."""
    if outcome.state == "failed":
        fields = {"reason": outcome.cause, "bug": outcome.bug, "failed_before": outcome.failed_before}
    else:
        fields = {"state": outcome.state, "results": list(outcome.artefacts.values()), "details": outcome.details}
    name = "failed" if outcome.state == "failed" else "finished"
    which = {key: value for key, value in (("piece", outcome.piece), ("line", outcome.line)) if value}
    fields = {"file": outcome.input, **which, **fields, "seconds": round(outcome.seconds, 3)}
    return Event(name, line_of(outcome), fields)


def result_lines(outcome: Outcome) -> list[str]:
    """What stdout gets, for scripts: paths and nothing else, but in a dry run, where nothing is made."""
    head = "would make " if outcome.state == "planned" else ""
    return [printable(head + path) for path in _listed(outcome)]


def screen_lines(outcome: Outcome) -> list[str]:
    """What people see on a terminal: the paths, what became of them, and a few words about the last."""
    head = {"planned": "would make ", "already done": "already there "}.get(outcome.state, "")
    tail = f"  ({outcome.summary})" if outcome.summary else ""
    lines = [head + path for path in _listed(outcome)]
    return [printable(line) for line in [*lines[:-1], lines[-1] + tail]] if lines else []


def _listed(outcome: Outcome) -> list[str]:
    return [] if outcome.state in ("failed", "being made") else list(outcome.artefacts.values())


def line_of(outcome: Outcome) -> str:
    if outcome.state == "failed":
        again = " (as before; not tried again)" if outcome.failed_before else ""
        return f"{outcome.name}: failed: {outcome.cause}{again}"
    if outcome.state == "done":
        about = f": {outcome.summary}" if outcome.summary else ""
        return f"{outcome.name}: done in {outcome.seconds:.1f} s{about}"
    if outcome.state == "being made":
        return f"{outcome.name}: being made by another run"
    return f"{outcome.name}: {outcome.state}"


def traceback_lines(outcome: Outcome) -> list[str]:
    return (outcome.traceback or "").splitlines()
