"""What was made from what: one line of JSON per event, in the folder of the results."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from d2m_cli.batch.atomic import output_error

LEDGER_NAME = "d2m-ledger.jsonl"

Status = Literal["started", "done", "failed"]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
        "started" claims the artefacts' names before they are written, so that a later run knows them as its own.
    artefacts
        What was made; for "started" and "failed" the names that were to be made, with size -1.
    error
        Why it failed.
    seconds
        How long it took.
    details
        What the command had to say about it.
    """

    input: str
    content: str
    settings: str
    status: Status
    artefacts: tuple[Artefact, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The ledger of one result folder.

    Lines are only ever added, each in one write; a line that a killed process left unfinished is passed over when read,
    and the next line starts on a line of its own.

    Parameters
    ----------
    folder
        The folder of the results; made when the first line is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / LEDGER_NAME
        self._owner: dict[str, Entry] = {}
        for line in self._lines():
            entry = _parse(line)
            if entry is not None:
                self._take(entry)

    def owner(self, artefact: str) -> Entry | None:
        """The latest entry that names the artefact (path relative to the folder), or None."""
        return self._owner.get(artefact)

    def is_done(self, content: str, settings: str, artefacts: Mapping[str, Path]) -> bool:
        """Whether every artefact asked for was made from this content with these settings and is still there.

        Parameters
        ----------
        content, settings
            Digests as in `Entry`.
        artefacts
            The files asked for.
        """
        return all(self._holds(self.relative(path), content, settings) for path in artefacts.values())

    def entry_of(self, artefacts: Mapping[str, Path]) -> Entry | None:
        """The latest entry that names the first of the artefacts."""
        return next((self.owner(self.relative(path)) for path in artefacts.values()), None)

    def add(self, entry: Entry) -> None:
        """Add one line.

        Raises
        ------
        OutputError
            The line can't be written.
        """
        line = json.dumps(asdict(entry), ensure_ascii=True, allow_nan=False).encode() + b"\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                if _ends_midline(handle):
                    line = b"\n" + line
                written = os.write(handle, line)
                if written < len(line):
                    os.write(handle, line[written:])
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise output_error(self.path, error) from error
        self._take(entry)

    def relative(self, path: Path) -> str:
        """A path below the folder as the ledger writes it."""
        return path.relative_to(self.folder).as_posix()

    def _lines(self) -> list[bytes]:
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise output_error(self.path, error) from error

    def _take(self, entry: Entry) -> None:
        for artefact in entry.artefacts:
            self._owner[artefact.path] = entry

    def _holds(self, artefact: str, content: str, settings: str) -> bool:
        entry = self.owner(artefact)
        if entry is None or (entry.content, entry.settings, entry.status) != (content, settings, "done"):
            return False
        size = next(made.size for made in entry.artefacts if made.path == artefact)
        try:
            return (self.folder / artefact).stat().st_size == size
        except OSError:
            return False


def content_digest(path: Path) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of a file's whole content."""
    digest = blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def settings_digest(label: str, settings: Mapping[str, Any]) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of a command and its settings; the order of keys does not matter.

    Parameters
    ----------
    label
        The command, for example "generate".
    settings
        Values that JSON can hold, and paths.
    """
    text = json.dumps({"command": label, "settings": settings}, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _ends_midline(handle: int) -> bool:
    size = os.lseek(handle, 0, os.SEEK_END)
    if size == 0:
        return False
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) != b"\n"


def _parse(line: bytes) -> Entry | None:
    # A line may be cut, or hold anything if someone edited the file: what can't be read makes nothing "done".
    try:
        raw = json.loads(line)
        artefacts = tuple(Artefact(str(a["path"]), int(a["size"]), str(a["digest"])) for a in raw["artefacts"])
        if raw["status"] not in ("started", "done", "failed"):
            return None
        return Entry(
            input=str(raw["input"]),
            content=str(raw["content"]),
            settings=str(raw["settings"]),
            status=raw["status"],
            artefacts=artefacts,
            error=raw.get("error"),
            seconds=float(raw.get("seconds", 0.0)),
            details=dict(raw.get("details") or {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
