"""What a batch is given, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from d2m_cli import __version__
from d2m_cli.errors import D2MError
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import Found, PassedOver

State = Literal["done", "already done", "being made", "failed", "planned", "not tried"]


@dataclass(frozen=True)
class Job:
    """One file on its way through a batch.

    Attributes
    ----------
    path
        The file to read.
    stem
        Relative path of its results, without a suffix.
    content
        BLAKE2b of the file's content, hexadecimal; what seeds hang on.
    artefacts
        Suffix to the full path of the file that is to be made (with `d2m_cli.ground.files.atomic_path`). It may lie in
        a folder of the run's own, under the name that it will have; the batch moves all of a job to their places at
        once.
    settings
        Digest of all that changes its results besides its content.
    item
        What the batch was given for it.
    beside
        Suffixes of what was made before from the same content with the same settings, is not asked for now, and stays.
    drawing
        Where it is to be drawn for the page of results, which needs no place among them; None where no page is wanted.
    """

    path: Path
    stem: Path
    content: str
    artefacts: Mapping[str, Path]
    settings: str
    item: Found
    beside: tuple[str, ...] = ()
    drawing: Path | None = None


@dataclass(frozen=True)
class ItemResult:
    """What the work on one file has to say.

    Attributes
    ----------
    summary
        A few words for the terminal, for example "103.4 bpm, 2 dancers".
    details
        The same for machines: values that JSON can hold.
    """

    summary: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    input
        Path as named on the command line.
    state
        "done", "already done", "being made" (by another run with the same settings, when this one was stopped or only
        asked), "failed", "planned" (dry run) or "not tried" (the batch stopped before it).
    artefacts
        Suffix to path of the results that are there (or planned).
    summary, details
        Of its `ItemResult`.
    error
        Why it failed.
    bug, traceback
        Whether it failed on an exception that d2m did not foresee, and where that came from.
    seconds
        How long it took.
    failed_before
        Whether it failed in an earlier run, or in another, and so was not tried.
    piece
        Stem of its results, where several pieces of music are made for the file; else "".
    line
        The line of a table that asked for it, such as "takes.csv: line 3"; "" for none.
    """

    input: str
    state: State
    artefacts: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    bug: bool = False
    traceback: str | None = None
    seconds: float = 0.0
    failed_before: bool = False
    piece: str = ""
    line: str = ""

    @property
    def name(self) -> str:
        """The file, with the piece behind it where it has several, and with the line that a failure came from."""
        beside = ", ".join(filter(None, [self.piece, self.line if self.state == "failed" else ""]))
        return f"{self.input} ({beside})" if beside else self.input

    @property
    def cause(self) -> str:
        """Why it failed, without the name of the file in front."""
        return cause(self.input, self.error or "")


def cause(name: str, error: str) -> str:
    """The text of an error without the name of the input in front of it."""
    if error.startswith(name) and error[len(name) :][:1] in (":", " "):
        return error[len(name) :].lstrip(": ")
    return error


@dataclass(frozen=True)
class BatchSummary:
    """What became of a batch.

    Attributes
    ----------
    label
        The command.
    out_dir
        Folder of the results.
    settings
        As given to `run_batch`.
    outcomes
        One for each file, in order.
    interrupted
        Whether it was stopped from the keyboard.
    stopped
        Why it stopped early (disk full), or None.
    seconds
        Length of the whole batch.
    passed_over
        What lay in the folders and can't be worked on.
    unlisted
        Why results could not be listed on stdout (full disk), or None.
    """

    label: str
    out_dir: Path
    settings: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    interrupted: bool
    stopped: str | None
    seconds: float
    passed_over: tuple[PassedOver, ...] = ()
    unlisted: str | None = None

    @property
    def failed_before(self) -> int:
        """How many of those that failed were not tried, since they failed before."""
        return sum(outcome.failed_before for outcome in self.outcomes)

    def count(self, state: State) -> int:
        """How many files ended in a state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed or results could not be listed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.stopped is not None or self.unlisted is not None or self.count("failed") else 0

    def to_json(self) -> dict[str, Any]:
        """The whole summary as one JSON document."""
        counts = self.counts()
        head = {name: counts.pop(name) for name in ("command", "version", "out")}
        return {
            **head,
            "settings": dict(self.settings),
            **counts,
            "items": [asdict(outcome) for outcome in self.outcomes],
            "passed_over": [{"path": str(one.path), "reason": one.reason} for one in self.passed_over],
        }

    def counts(self) -> dict[str, Any]:
        """The summary without a word on any single file."""
        return {
            "command": self.label,
            "version": __version__,
            "out": str(self.out_dir),
            "done": self.count("done"),
            "already_done": self.count("already done"),
            "being_made": self.count("being made"),
            "planned": self.count("planned"),
            "failed": self.count("failed"),
            "failed_before": self.failed_before,
            "not_tried": self.count("not tried"),
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
        }


Work = Callable[[Job, StageReport], ItemResult]

Making = Callable[[], AbstractContextManager[Work]]
"""Gets all ready that work needs, and lets it go at the end. One that may be sent to other processes can be pickled."""


class ElsewhereError(Exception):
    """An error that nobody foresaw, which came over work in another process.

    Parameters
    ----------
    described
        What it was, and where.
    traceback
        As text.
    shortage
        Whether memory ran out there.
    """

    def __init__(self, described: str, traceback: str, shortage: bool) -> None:
        super().__init__(described, traceback, shortage)
        self.described = described
        self.traceback = traceback
        self.shortage = shortage


class DeathsError(D2MError):
    """The processes that worked on one file ended over it, again and again."""
