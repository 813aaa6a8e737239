"""What a command does, as lines of JSON for other programs."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option

_HALVES = re.compile("[\ud800-\udfff]")
"""Of surrogate pairs, which stand for bytes of a name that are no text; many readers of JSON refuse them."""

_BEGINNING = b'{"time"'
"""Of every line, by which a log is told from a file that is not to be written to."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user or another program may want to know; of plain values, so that it can go to any process.

    Attributes
    ----------
    name
        What kind of thing happened, such as "finished".
    text
        The same in words, as it is printed; "" where nothing is.
    fields
        More of it: values that JSON can hold, and paths.
    """

    name: str
    text: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


Tell = Callable[[Event], None]
"""Is told of events."""


class EventLog:
    """A file to which events are appended, one JSON object a line, each written in one piece.

    Several processes may append to one file of a local disk; their lines do not mix. A log that can't be written any
    more stops nothing: that is said once, and no more is written.

    Parameters
    ----------
    path
        The file; it is made where it does not exist.
    complain
        Told in words why no more is written.

    Attributes
    ----------
    lost
        Why a line could not be written, or None; also where it was a pipe that nobody reads any more.

    Raises
    ------
    UsageError
        The file can't be opened, or what it holds is no log: a video that was named by mistake stays as it is.
    """

    def __init__(self, path: Path, complain: Callable[[str], None]) -> None:
        self.lost: str | None = None
        self._path, self._complain = path, complain
        self._run = uuid4().hex[:8]
        self._giving_up = threading.Lock()
        try:
            _check_is_log(path)
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(
                f"{option('log')} {path}: can't be written ({error.strerror or error}): name a file in a folder "
                "that exists and that you may write to"
            ) from error

    def __call__(self, event: Event) -> None:
        file = self._file
        if file is None:
            return
        line = _line(event, self._run)
        try:
            written = os.write(file, line)
            if written < len(line):
                # The rest finds no room, or another process has gone on by then.
                with suppress(OSError):
                    os.write(file, b"\n")
                raise OSError("only a part of a line could be written")
        except BrokenPipeError:
            self._give_up(file, f"nobody reads the log {self._path} any more; the work goes on without it")
        except OSError as error:
            self.lost = error.strerror or str(error)
            self._give_up(file, f"the log {self._path} can't be written ({self.lost}); the work goes on without it")

    def _give_up(self, file: int, reason: str) -> None:
        # Of several threads that fail at once, one says so.
        with self._giving_up:
            given_up, self._file = self._file is None, None
        if not given_up:
            self._complain(reason)
            with suppress(OSError):
                os.close(file)

    def close(self) -> None:
        """Write no more."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)


def _check_is_log(path: Path) -> None:
    """Raise UsageError where a file is there that lines of a log have no place in."""
    # Not at the top: the help of all commands comes by here, and the list of results brings a tenth of its time.
    from d2m_cli.ground.ledger import LEDGER_NAME

    if path.name == LEDGER_NAME:
        raise UsageError(
            f"{option('log')} {path}: that is the name of the list of results that d2m keeps itself; name another file"
        )
    if not path.is_file():  # a pipe, a terminal, or nothing yet
        return
    with path.open("rb") as file:
        found = file.read(len(_BEGINNING))
    if found not in (b"", _BEGINNING):
        raise UsageError(
            f"{option('log')} {path}: is there and no log, so nothing is appended to it; name a new file, or a log "
            "that an earlier run wrote"
        )


def _line(event: Event, run: str) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"time": now, "run": run, "event": event.name}
    if event.text:
        document["text"] = event.text
    told = json.dumps(_plain({**document, **event.fields}), ensure_ascii=False, allow_nan=False)
    return told.encode() + b"\n"


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: no number is null, and a byte that is no text is written "\\\\udcff"."""
    if isinstance(value, str):
        return value if value.isascii() else _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return _plain(str(value))
