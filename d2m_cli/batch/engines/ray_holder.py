"""What runs on a node of a Ray cluster: one process that holds networks, and works on several files at once with them.

Nothing of Ray is imported here; `d2m_cli.batch.engines.ray_pool` has Ray run it.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from d2m_cli import __version__
from d2m_cli.batch.failures import DISK, described
from d2m_cli.batch.outcome import ElsewhereError, ItemResult, Job, Making, Work
from d2m_cli.errors import D2MError, UsageError
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.options import tell_flags
from d2m_cli.media.shortage import is_shortage


@dataclass(frozen=True)
class Plan:
    """What a holder needs to know before its first file.

    Attributes
    ----------
    making
        Gets ready what does the work.
    settings
        Each setting that results hang on to a digest of its value, on the machine that gives out the files.
    settings_there
        The settings as the holder's node has them.
    version
        Of d2m.
    folder
        Which relative paths start from.
    flags
        Whether errors name options as flags.
    """

    making: Making
    settings: Mapping[str, str]
    settings_there: Callable[[], Mapping[str, Any]]
    version: str
    folder: str
    flags: bool


@dataclass(frozen=True)
class Made:
    """What came of one file.

    Attributes
    ----------
    result
        What is to be said of it.
    files
        Suffix to the whole content of each result.
    drawing
        Its drawing for the page of results; None where none is wanted, or none was made.
    said
        Lines that the process had for the user since it was last asked.
    """

    result: ItemResult
    files: Mapping[str, bytes]
    drawing: bytes | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """An error, as it can be sent to another process; `said` as of `Made`."""

    error: Exception
    said: tuple[str, ...] = ()


Step = tuple[str, tuple[Any, ...]]
"""Method of a `StageReport`, and what it was called with."""


class _Steps:
    """A `StageReport` that keeps what it is told until that is fetched; of fractions of one step the last alone."""

    def __init__(self) -> None:
        self._told: list[Step] = []
        self._guard = threading.Lock()

    def __call__(self, step: str, fraction: float = 0.0) -> None:
        self._note("__call__", step, fraction)

    def stage(self, name: str, step: str = "") -> None:
        self._note("stage", name, step)

    def wait(self, step: str) -> None:
        self._note("wait", step)

    def length(self, seconds: float) -> None:
        self._note("length", seconds)

    def fetched(self) -> tuple[Step, ...]:
        with self._guard:
            told, self._told = tuple(self._told), []
        return told

    def _note(self, method: str, *values: Any) -> None:
        with self._guard:
            if method == "__call__" and self._told and self._told[-1][0] == method:
                self._told.pop()
            self._told.append((method, values))


class _Said(io.TextIOBase):
    """In place of stderr: what is printed there is also kept line by line until it is fetched."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self._lines: SimpleQueue[str] = SimpleQueue()

    def write(self, text: str) -> int:
        for line in text.splitlines():
            # What libraries print stays in Ray's log.
            if line.startswith("d2m"):
                self._lines.put(line)
        return self._inner.write(text)

    def flush(self) -> None:
        self._inner.flush()

    def fetched(self) -> tuple[str, ...]:
        return tuple(self._lines.get() for _ in range(self._lines.qsize()))


class Holder:
    """The networks of one process.

    Results are made in a temporary folder of the node and returned whole, so that a process that nobody listens to any
    more can't touch what another makes in its place.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._work: Work | None = None
        self._steps: dict[int, _Steps] = {}
        self._said = _Said(sys.stderr)

    def open(self, plan: Plan) -> str | Failure:
        """Get ready; returns the name of the node.

        Networks are loaded when the first file needs them.
        """
        sys.stderr = self._said
        tell_flags(plan.flags)
        try:
            if plan.version != __version__:
                raise UsageError(f"holds d2m {__version__}, not {plan.version}: install the same version on all nodes")
            with suppress(OSError):  # then inputs that are named from there are missed, and that is told
                os.chdir(plan.folder)
            here = digests(plan.settings_there())
            if other := sorted(name for name in {*here, *plan.settings} if here.get(name) != plan.settings.get(name)):
                raise UsageError(
                    f"would make other results than this machine ({', '.join(other)} differ): have the same models and "
                    "files on all nodes, and name models outright"
                )
            self._work = self._stack.enter_context(plan.making())
        except Exception as error:
            return Failure(UsageError(f"the node {_node()}: {error if isinstance(error, D2MError) else _bug(error)}"))
        return _node()

    def make(self, number: int, job: Job) -> Made | Failure:
        """Do the work on one file; `number` is what `steps` is asked by."""
        assert self._work is not None
        report = self._steps[number] = _Steps()
        try:
            with tempfile.TemporaryDirectory(prefix="d2m-") as folder:
                try:
                    if not job.path.exists():
                        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(job.path))
                    staged = {suffix: Path(folder) / path.name for suffix, path in job.artefacts.items()}
                    drawing = Path(folder) / "drawing" if job.drawing is not None else None
                    result = self._work(replace(job, artefacts=staged, drawing=drawing), report)
                    files = {suffix: path.read_bytes() for suffix, path in staged.items()}
                    drawn = drawing.read_bytes() if drawing is not None and drawing.exists() else None
                    return Made(result, files, drawn, self._said.fetched())
                except Exception as error:
                    return Failure(_sendable(error, job, folder), self._said.fetched())
        except OSError as error:  # no folder to be had
            return Failure(_sendable(error, job, tempfile.gettempdir()))
        finally:
            self._steps.pop(number, None)

    def steps(self, number: int) -> tuple[tuple[Step, ...], tuple[str, ...]]:
        """What the work on a file has reported since it was last asked; and what was said, as of `Made`."""
        report = self._steps.get(number)
        return () if report is None else report.fetched(), self._said.fetched()


def digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """A digest of each setting."""
    return {name: settings_digest(name, {name: value}) for name, value in settings.items()}


def _sendable(error: Exception, job: Job, folder: str) -> Exception:
    if isinstance(error, UsageError):
        return type(error)(f"{error} (on the node {_node()})")
    if isinstance(error, D2MError):
        # Results are named as they will be called, not where they are made.
        return type(error)(str(error).replace(f"{folder}{os.sep}", ""))
    if isinstance(error, OSError) and (error.filename == str(job.path) or error.errno in DISK):
        return OSError(error.errno, f"{error.strerror} (on the node {_node()})", error.filename or folder)
    return _bug(error)


def _bug(error: Exception) -> ElsewhereError:
    whole = "".join(traceback.format_exception(error))
    return ElsewhereError(f"{described(error)} (on the node {_node()})", whole, is_shortage(error))


def _node() -> str:
    return socket.gethostname()
