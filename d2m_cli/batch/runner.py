"""Work through many files: skip what is done, name what fails, say how long it still takes."""

from __future__ import annotations

import errno
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from d2m_cli import __version__
from d2m_cli.batch.atomic import output_error
from d2m_cli.batch.discover import Found
from d2m_cli.batch.ledger import LEDGER_NAME, Artefact, Entry, Ledger, Status, content_digest, settings_digest
from d2m_cli.errors import D2MError, OutputError, UsageError

State = Literal["done", "already done", "failed", "planned", "not tried"]

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


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
        Suffix to the full path of the file that is to be made (with `d2m_cli.batch.atomic.atomic_path`).
    """

    path: Path
    stem: Path
    content: str
    artefacts: Mapping[str, Path]


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


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    input
        Path as named on the command line.
    state
        "done", "already done", "failed", "planned" (dry run) or "not tried" (the batch stopped before it).
    artefacts
        Suffix to path of the results that are there (or planned).
    summary, details
        Of its `ItemResult`.
    error
        Why it failed.
    bug
        Whether it failed on an exception that d2m did not foresee.
    seconds
        How long it took.
    """

    input: str
    state: State
    artefacts: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    bug: bool = False
    seconds: float = 0.0


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
    """

    label: str
    out_dir: Path
    settings: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    interrupted: bool
    stopped: str | None
    seconds: float

    def count(self, state: State) -> int:
        """How many files ended in a state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.stopped is not None or self.count("failed") else 0

    def to_json(self) -> dict[str, Any]:
        """The whole summary as one JSON document."""
        return {
            "command": self.label,
            "version": __version__,
            "out": str(self.out_dir),
            "settings": dict(self.settings),
            "done": self.count("done"),
            "already_done": self.count("already done"),
            "planned": self.count("planned"),
            "failed": self.count("failed"),
            "not_tried": self.count("not tried"),
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "items": [asdict(outcome) for outcome in self.outcomes],
        }


class Report(Protocol):
    """How work tells where it is."""

    def __call__(self, step: str, fraction: float = 0.0) -> None:
        """Show a step ("pose", "music window 2 of 3") and how much of the file is done, 0 to 1."""


Work = Callable[[Job, Report], ItemResult]


def run_batch(
    items: Sequence[Found],
    work: Work,
    *,
    settings: Mapping[str, Any],
    artefacts: Sequence[str],
    out_dir: Path,
    overwrite: bool = False,
    dry_run: bool = False,
    json_out: bool = False,
    label: str,
) -> BatchSummary:
    """Do `work` on every item that is not done yet, and say what became of each.

    A file that fails is named with its reason, and the rest go on. What stops the batch: an interrupt from the
    keyboard, a result folder that can't be written to (full disk), and a `UsageError` from the work (a missing model
    concerns every file), which is passed on. Results go to stdout, one line a result or one JSON document; progress
    goes to stderr.

    Parameters
    ----------
    items
        From `d2m_cli.batch.discover`.
    work
        Makes all artefacts of one job, each with `atomic_path`.
    settings
        All options that change the result; values that JSON can hold.
    artefacts
        Suffixes of the files that work makes, such as ".wav"; appended to an item's stem.
    out_dir
        Folder of the results and of the ledger.
    overwrite
        Do what is done again, and replace files that d2m did not make.
    dry_run
        Only say what would be done; nothing is written.
    json_out
        One JSON document on stdout in place of lines.
    label
        Name of the command.

    Raises
    ------
    UsageError
        A result would replace an input; or raised by work.
    """
    out_dir = Path(out_dir)
    _refuse_to_replace_inputs(items, artefacts, out_dir)
    batch = _Batch(work, settings_digest(label, settings), artefacts, Ledger(out_dir), overwrite, dry_run)
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    interrupted, stopped = False, None
    with _display(len(items), label, quiet=dry_run) as display:
        for number, item in enumerate(items):
            display.start(number, str(item.stem))
            try:
                outcome = batch.one(item, display.report)
            except KeyboardInterrupt:
                interrupted = True
                break
            except OutputError as error:
                stopped = str(error)
                outcomes.append(Outcome(str(item.path), "failed", error=stopped))
                break
            outcomes.append(outcome)
            display.finish(number, outcome, to_stdout=not json_out)
    outcomes += [Outcome(str(item.path), "not tried") for item in items[len(outcomes) :]]
    summary = BatchSummary(
        label, out_dir, settings, tuple(outcomes), interrupted, stopped, seconds=time.monotonic() - begun
    )
    _close(summary, json_out)
    return summary


@dataclass(frozen=True)
class _Batch:
    work: Work
    settings: str
    artefacts: Sequence[str]
    ledger: Ledger
    overwrite: bool
    dry_run: bool

    def one(self, item: Found, report: Report) -> Outcome:
        """Bring one item to its end; only OutputError, UsageError and KeyboardInterrupt come out as exceptions."""
        begun = time.monotonic()
        outcome = Outcome(str(item.path), "failed")
        try:
            content = content_digest(item.path)
        except OSError as error:
            return replace(outcome, error=f"{item.path} can't be read: {error.strerror or error}")
        job = Job(item.path, item.stem, content, _targets(item, self.artefacts, self.ledger.folder))
        paths = {suffix: str(path) for suffix, path in job.artefacts.items()}
        if not self.overwrite:
            if self.ledger.is_done(content, self.settings, job.artefacts):
                return self._already(job, replace(outcome, artefacts=paths))
            if (stranger := self._stranger(job)) is not None:
                advice = "move it, choose another folder with --out, or add --overwrite"
                return replace(outcome, error=f"{stranger} is in the way and d2m did not make it: {advice}")
        if self.dry_run:
            return replace(outcome, state="planned", artefacts=paths)
        self._write(job, "started")
        try:
            result = self.work(job, report)
            made = tuple(self._measure(path) for path in job.artefacts.values())
        except (OutputError, UsageError):
            raise
        except D2MError as error:
            outcome = replace(outcome, error=str(error))
        except OSError as error:
            if error.errno in _DISK:
                raise output_error(Path(error.filename or self.ledger.folder), error) from error
            outcome = _bug(outcome, error)
        except Exception as error:
            outcome = _bug(outcome, error)
        else:
            seconds = time.monotonic() - begun
            self._write(job, "done", artefacts=made, seconds=seconds, details=result.details)
            return replace(
                outcome, state="done", artefacts=paths, summary=result.summary, details=result.details, seconds=seconds
            )
        outcome = replace(outcome, seconds=time.monotonic() - begun)
        self._write(job, "failed", error=outcome.error, seconds=outcome.seconds)
        return outcome

    def _already(self, job: Job, outcome: Outcome) -> Outcome:
        entry = self.ledger.entry_of(job.artefacts)
        return replace(outcome, state="already done", details=entry.details if entry else {})

    def _stranger(self, job: Job) -> Path | None:
        for path in job.artefacts.values():
            if path.exists() and self.ledger.owner(self.ledger.relative(path)) is None:
                return path
        return None

    def _measure(self, path: Path) -> Artefact:
        return Artefact(self.ledger.relative(path), path.stat().st_size, content_digest(path))

    def _write(self, job: Job, status: Status, *, artefacts: tuple[Artefact, ...] | None = None, **rest: Any) -> None:
        if artefacts is None:
            artefacts = tuple(Artefact(self.ledger.relative(path), -1, "") for path in job.artefacts.values())
        self.ledger.add(Entry(str(job.path), job.content, self.settings, status, artefacts, **rest))


def _bug(outcome: Outcome, error: Exception) -> Outcome:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return replace(outcome, error=f"bug in d2m or a library: {type(error).__name__} at {where}: {error}", bug=True)


def _targets(item: Found, artefacts: Sequence[str], out_dir: Path) -> dict[str, Path]:
    return {suffix: out_dir / item.stem.with_name(item.stem.name + suffix) for suffix in artefacts}


def _refuse_to_replace_inputs(items: Sequence[Found], artefacts: Sequence[str], out_dir: Path) -> None:
    inputs = {item.path.resolve() for item in items}
    for item in items:
        for path in _targets(item, artefacts, out_dir).values():
            if path.resolve() in inputs:
                raise UsageError(f"the result {path} would replace an input: choose another folder with --out")
    if out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"{out_dir} is a file, not a folder for results: choose another folder with --out")


# What the user sees.


class _Display(Protocol):
    def start(self, number: int, name: str) -> None: ...
    def report(self, step: str, fraction: float = 0.0) -> None: ...
    def finish(self, number: int, outcome: Outcome, *, to_stdout: bool) -> None: ...


@contextmanager
def _display(total: int, label: str, *, quiet: bool) -> Iterator[_Display]:
    if quiet or not sys.stderr.isatty():
        yield _PlainDisplay(total, quiet)
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
        yield _BarDisplay(progress, progress.add_task(label, total=total, step=""))


class _PlainDisplay:
    """Lines for a log file: one when a file is finished."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total, self._quiet = total, quiet
        self._begun = time.monotonic()
        self._worked = 0

    def start(self, number: int, name: str) -> None:
        pass

    def report(self, step: str, fraction: float = 0.0) -> None:
        pass

    def finish(self, number: int, outcome: Outcome, *, to_stdout: bool) -> None:
        if to_stdout:
            _print_result(outcome)
        if self._quiet:
            return
        self._worked += outcome.state != "already done"
        left = self._total - number - 1
        line = f"[{number + 1}/{self._total}] {_line(outcome)}"
        if left and self._worked:
            line += f", about {_clock((time.monotonic() - self._begun) / self._worked * left)} left"
        print(line, file=sys.stderr, flush=True)


class _BarDisplay:
    """A bar on a terminal, and one line above it for each finished file."""

    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task
        self._number, self._name = 0, ""

    def start(self, number: int, name: str) -> None:
        self._number, self._name = number, name
        self.report("")

    def report(self, step: str, fraction: float = 0.0) -> None:
        text = f"{self._name}: {step}" if step else self._name
        self._progress.update(self._task, completed=self._number + min(max(fraction, 0.0), 1.0), step=text)

    def finish(self, number: int, outcome: Outcome, *, to_stdout: bool) -> None:
        self._progress.update(self._task, completed=number + 1)
        console = self._progress.console
        if outcome.state == "failed":
            console.print(_line(outcome), style="red", markup=False, highlight=False)
        if not to_stdout:
            return
        if sys.stdout.isatty():
            for line in _result_lines(outcome):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            _print_result(outcome)


def _result_lines(outcome: Outcome) -> list[str]:
    if outcome.state == "failed":
        return []
    head = {"planned": "would make ", "already done": "already there "}.get(outcome.state, "")
    tail = f"  ({outcome.summary})" if outcome.summary else ""
    lines = [head + path for path in outcome.artefacts.values()]
    return [*lines[:-1], lines[-1] + tail] if lines else []


def _print_result(outcome: Outcome) -> None:
    for line in _result_lines(outcome):
        print(line, flush=True)


def _line(outcome: Outcome) -> str:
    if outcome.state == "failed":
        return f"{outcome.input}: failed: {outcome.error}"
    if outcome.state == "done":
        return f"{outcome.input}: done in {outcome.seconds:.1f} s"
    return f"{outcome.input}: {outcome.state}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _close(summary: BatchSummary, json_out: bool) -> None:
    if json_out:
        print(json.dumps(summary.to_json(), indent=2, default=str), flush=True)
    counts = [
        f"{summary.count(state)} {state}"
        for state in ("done", "already done", "planned", "failed", "not tried")
        if summary.count(state)
    ]
    print(f"d2m {summary.label}: {', '.join(counts)} in {_clock(summary.seconds)}", file=sys.stderr)
    for outcome in summary.outcomes:
        if outcome.state == "failed" and outcome.error != summary.stopped:
            print(f"  failed: {outcome.input}: {outcome.error}", file=sys.stderr)
    if summary.stopped is not None:
        print(f"d2m: error: {summary.stopped}", file=sys.stderr)
    if summary.interrupted:
        print(f"interrupted; run the same command again to go on ({LEDGER_NAME} knows what is done)", file=sys.stderr)
    sys.stderr.flush()


__all__ = ["BatchSummary", "ItemResult", "Job", "Outcome", "Report", "Work", "run_batch"]
