"""What a line of the ledger says, and how it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from sys import intern
from typing import Any, Literal, get_args

from d2m_cli.ground.stamp import Stamp

INPUT = ""
"""Stands for the input among the names of artefacts."""

Status = Literal["started", "placing", "done", "checked", "failed", "interrupted", "died", "removed"]

Kind = Literal["input", "bug", "output", "gone", "deaths", "resources"]
"""Why a file failed: it can't be used; nobody foresaw the error; its results can't be written; it vanished or changed
meanwhile; d2m itself died over it too often; memory ran out. The first two would come again with the same settings."""

LASTING: frozenset[str] = frozenset({"input", "bug"})

_STATUSES = frozenset(get_args(Status))


@dataclass(frozen=True, slots=True)
class Artefact:
    """One result file as it was when it was finished.

    Attributes
    ----------
    path
        Relative to the ledger's folder, with forward slashes.
    size
        In bytes.
    digest
        BLAKE2b of its content, hexadecimal.
    """

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Attributes
    ----------
    input
        Path of the input as it was named.
    content
        BLAKE2b of the input's content, hexadecimal.
    settings
        Digest of the command and all its settings that change the result (see `settings_digest`).
    status
        "started" claims the artefacts' names before anything is made, "placing" says what was made before it is moved
        to its places, so that a later run knows it as d2m's own however far that came. They are followed by "done",
        "failed", "interrupted" (from outside, in order) or "died" (written by the next run: the process ended without a
        word). "checked" is "done" with fresh stamps: the files were read again. "removed" takes results out again.
    artefacts
        What was made; with size -1 the names that were to be made, or that were removed.
    error
        Why it failed.
    seconds
        How long it took.
    details
        What the command had to say about it.
    run
        Name of the run that wrote it.
    command, stem
        The command, and the relative path of the results without a suffix.
    place
        Path of the input from the ledger's folder, with forward slashes: the same from wherever d2m is called.
    stamps
        Path of an artefact (as in `Artefact`), or `INPUT`, to its `Stamp`.
    traceback
        Where an error that nobody foresaw came from.
    at
        When it was written, in seconds since 1970; 0 where that is not known, as in lines of older versions.
    kind
        Of what failed: see `Kind`.
    """

    input: str
    content: str
    settings: str
    status: Status
    artefacts: tuple[Artefact, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    command: str = ""
    stem: str = ""
    place: str = ""
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    traceback: str | None = None
    at: float = 0.0
    kind: str = ""

    @property
    def made(self) -> bool:
        """Whether its artefacts were finished."""
        return self.status in ("done", "checked")


def to_json(entry: Entry) -> dict[str, Any]:
    """An entry as the values of its line."""
    values = asdict(entry)
    values["stamps"] = {name: [one.size, one.modified, one.changed, one.noted] for name, one in entry.stamps.items()}
    return {name: value for name, value in values.items() if value or name not in _OPTIONAL}


_OPTIONAL = frozenset({"run", "command", "stem", "place", "stamps", "traceback", "at", "kind"})


def parse(line: bytes) -> Entry | None:
    """The entry of a line, or None where it holds none."""
    # A line may be cut, or hold anything if someone edited the file: what can't be read makes nothing "done".
    try:
        raw = json.loads(line, parse_float=_finite, parse_constant=_finite)
        # Several lines name a file, and a ledger has hundreds of thousands: what is the same is held once.
        artefacts = tuple(Artefact(intern(str(a["path"])), int(a["size"]), str(a["digest"])) for a in raw["artefacts"])
        if raw["status"] not in _STATUSES:
            return None
        return Entry(
            input=intern(str(raw["input"])),
            content=intern(str(raw["content"])),
            settings=intern(str(raw["settings"])),
            status=raw["status"],
            artefacts=artefacts,
            error=raw.get("error"),
            seconds=float(raw.get("seconds", 0.0)),
            details={intern(name): value for name, value in (raw.get("details") or {}).items()},
            run=intern(str(raw.get("run", ""))),
            command=intern(str(raw.get("command", ""))),
            stem=intern(str(raw.get("stem", ""))),
            place=intern(str(raw.get("place", ""))),
            stamps={intern(name): Stamp(*map(int, numbers)) for name, numbers in raw.get("stamps", {}).items()},
            traceback=raw.get("traceback"),
            at=float(raw.get("at", 0.0)),
            kind=str(raw.get("kind", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number that d2m writes")
    return number
