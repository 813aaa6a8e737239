"""What was made from what: one line of JSON per event, in the folder of the results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from d2m_cli.batch.atomic import output_error
from d2m_cli.batch.locks import lock
from d2m_cli.errors import OutputError
from d2m_cli.stamp import Stamp, content_digest, read_digest

LEDGER_NAME = "d2m-ledger.jsonl"

INPUT = ""
"""Stands for the input among the names of artefacts."""

Status = Literal["started", "done", "checked", "failed", "interrupted", "died"]

_STATUSES = frozenset(get_args(Status))


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
        "started" claims the artefacts' names before they are written, so that a later run knows them as its own; it is
        followed by "done", "failed", "interrupted" (from outside, in order) or "died" (written by the next run: the
        process ended without a word). "checked" is "done" with fresh stamps: the files were read again.
    artefacts
        What was made; but for "done" and "checked" the names that were to be made, with size -1.
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

    @property
    def made(self) -> bool:
        """Whether its artefacts were finished."""
        return self.status in ("done", "checked")


class Ledger:
    """The ledger of one result folder.

    Lines are only ever added, each in one write under a lock; a line that a killed process left unfinished is passed
    over when read, and the next line starts on a line of its own. Several processes may add to one ledger.

    Parameters
    ----------
    folder
        The folder of the results; made when the first line is added.

    Attributes
    ----------
    begun
        Name of a run to the line of what it has in hand: "started", and nothing after that yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / LEDGER_NAME
        self.begun: dict[str, Entry] = {}
        self._owner: dict[str, Entry] = {}
        self._made: set[str] = set()
        self._siblings: dict[tuple[str, str], set[str]] = {}
        self._deaths: dict[str, tuple[str, str, int]] = {}
        self._read = 0
        self._handle: int | None = None
        self.refresh()

    def owner(self, artefact: str) -> Entry | None:
        """The latest entry that names the artefact (path relative to the folder), or None."""
        return self._owner.get(artefact)

    def knows(self, artefact: str) -> bool:
        """Whether a file of this name is d2m's: it was made here once, or may have been when a run broke off."""
        entry = self.owner(artefact)
        return artefact in self._made or (entry is not None and entry.status != "failed")

    def owned(self) -> Mapping[str, Entry]:
        """All artefacts that entries name, by path relative to the folder, with the latest entry of each."""
        return self._owner

    def siblings(self, command: str, stem: str) -> frozenset[str]:
        """All artefacts that a command ever made under this stem."""
        return frozenset(self._siblings.get((command, stem), ()))

    def is_done(self, content: str, settings: str, artefacts: Mapping[str, Path], *, verify: bool = False) -> bool:
        """Whether every artefact asked for was made from this content with these settings and is still what it was.

        A file is read where its stamp does not vouch for it; `checked` is then to be told, so that it need not be read
        the next time.

        Parameters
        ----------
        content, settings
            Digests as in `Entry`.
        artefacts
            The files asked for.
        verify
            Read all of them in any case.
        """
        return self.checked(content, settings, artefacts, verify=verify) is not None

    def checked(
        self, content: str, settings: str, artefacts: Mapping[str, Path], *, verify: bool = False
    ) -> dict[str, Stamp] | None:
        """As `is_done`: None where not; else new stamps of those artefacts that had to be read, by path."""
        fresh: dict[str, Stamp] = {}
        for path in artefacts.values():
            name = self.relative(path)
            entry = self.owner(name)
            if entry is None or not entry.made or (entry.content, entry.settings) != (content, settings):
                return None
            known = next(made for made in entry.artefacts if made.path == name)
            try:
                now = Stamp.of(path)
                if now.size != known.size:
                    return None
                stamp = entry.stamps.get(name)
                if stamp is not None and stamp.vouches_for(now) and not verify:
                    continue
                digest, fresh[name] = read_digest(path)
            except OSError:
                return None
            if digest != known.digest:
                return None
        return fresh

    def entry_of(self, artefacts: Mapping[str, Path]) -> Entry | None:
        """The latest entry that names the first of the artefacts that any entry names."""
        found = (self.owner(self.relative(path)) for path in artefacts.values())
        return next((entry for entry in found if entry is not None), None)

    def deaths(self, content: str, settings: str, artefacts: Mapping[str, Path]) -> int:
        """How often in a row d2m itself died over these artefacts, from this content with these settings.

        Whatever file was finished in between clears the count.
        """
        counts = [self._deaths.get(self.relative(path), ("", "", 0)) for path in artefacts.values()]
        return max((count for *what, count in counts if what == [content, settings]), default=0)

    def died_over(self, artefacts: Mapping[str, Path]) -> int:
        """How often d2m died over these artefacts, whatever they were made of, since it last finished any file."""
        return max((self._deaths.get(self.relative(path), ("", "", 0))[2] for path in artefacts.values()), default=0)

    def add(self, entry: Entry) -> None:
        """Add one line.

        Raises
        ------
        OutputError
            The line can't be written.
        """
        with self.locked():
            assert self._handle is not None
            line = json.dumps(_to_json(entry), ensure_ascii=True, allow_nan=False).encode() + b"\n"
            try:
                if _ends_midline(self._handle):
                    line = b"\n" + line
                _write_all(self._handle, line)
                os.fsync(self._handle)
            except OSError as error:
                raise output_error(self.path, error, whole=True) from error
            self.refresh()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from adding lines meanwhile; what they added before is read first.

        Raises
        ------
        OutputError
            The ledger can't be written.
        """
        if self._handle is not None:
            yield
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise output_error(self.path, error, whole=True) from error
        try:
            lock(handle, self.path, wait=True)
            self._handle = handle
            self.refresh()
            yield
        finally:
            self._handle = None
            os.close(handle)

    def refresh(self) -> None:
        """Read the lines that came since.

        Raises
        ------
        OutputError
            There is a ledger that can't be read.
        """
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read:
                    # Another file lies there now.
                    self._forget()
                file.seek(self._read)
                block = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise OutputError(f"{self.path}: the ledger can't be read ({error.strerror})") from error
        whole = block[: block.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            entry = _parse(line)
            if entry is not None:
                self._take(entry)

    def relative(self, path: Path) -> str:
        """A path below the folder as the ledger writes it."""
        return path.relative_to(self.folder).as_posix()

    def _forget(self) -> None:
        self._read = 0
        self._made.clear()
        for known in (self.begun, self._owner, self._deaths, self._siblings):
            known.clear()

    def _take(self, entry: Entry) -> None:
        for artefact in entry.artefacts:
            self._owner[artefact.path] = entry
        if entry.made:
            names = [artefact.path for artefact in entry.artefacts]
            self._made.update(names)
            self._siblings.setdefault((entry.command, entry.stem), set()).update(names)
        if entry.status == "checked":
            return
        if entry.status == "started":
            self.begun[entry.run] = entry
            return
        self.begun.pop(entry.run, None)
        if entry.status == "done":
            self._deaths.clear()
        elif entry.status == "died":
            for artefact in entry.artefacts:
                content, settings, count = self._deaths.get(artefact.path, ("", "", 0))
                again = (content, settings) == (entry.content, entry.settings)
                self._deaths[artefact.path] = (entry.content, entry.settings, count + 1 if again else 1)


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


def _write_all(handle: int, line: bytes) -> None:
    while line:
        line = line[os.write(handle, line) :]


def _ends_midline(handle: int) -> bool:
    size = os.lseek(handle, 0, os.SEEK_END)
    if size == 0:
        return False
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) != b"\n"


def _to_json(entry: Entry) -> dict[str, Any]:
    values = asdict(entry)
    values["stamps"] = {name: [one.size, one.modified, one.changed, one.noted] for name, one in entry.stamps.items()}
    return {name: value for name, value in values.items() if value or name not in _OPTIONAL}


_OPTIONAL = frozenset({"run", "command", "stem", "place", "stamps", "traceback"})


def _parse(line: bytes) -> Entry | None:
    # A line may be cut, or hold anything if someone edited the file: what can't be read makes nothing "done".
    try:
        raw = json.loads(line)
        artefacts = tuple(Artefact(str(a["path"]), int(a["size"]), str(a["digest"])) for a in raw["artefacts"])
        if raw["status"] not in _STATUSES:
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
            run=str(raw.get("run", "")),
            command=str(raw.get("command", "")),
            stem=str(raw.get("stem", "")),
            place=str(raw.get("place", "")),
            stamps={str(name): Stamp(*map(int, numbers)) for name, numbers in raw.get("stamps", {}).items()},
            traceback=raw.get("traceback"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


__all__ = ["LEDGER_NAME", "Artefact", "Entry", "Ledger", "Status", "content_digest", "settings_digest"]
