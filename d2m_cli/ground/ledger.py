"""What was made from what: one line of JSON per event, in the folder of the results."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from d2m_cli.errors import OutputError
from d2m_cli.ground.files import output_error
from d2m_cli.ground.ledger_entries import INPUT, Artefact, Entry, Status, parse, to_json
from d2m_cli.ground.locks import lock
from d2m_cli.ground.stamp import Stamp, read_digest

LEDGER_NAME = "d2m-ledger.jsonl"


class Ledger:
    """The ledger of one result folder.

    Lines are only ever added, each in one write under a lock; a line that a killed process left unfinished is passed
    over when read, and the next line starts on a line of its own. Several processes may add to one ledger, and several
    threads of one.

    Parameters
    ----------
    folder
        The folder of the results; made when the first line is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / LEDGER_NAME
        self._below = f"{self.folder}{os.sep}"
        # Name of a run, and of the first artefact, to the line of what it has in hand.
        self._begun: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
        self._owner: dict[str, Entry] = {}
        # Mostly of one element; there may be hundreds of thousands.
        self._digests: dict[str, tuple[str, ...]] = {}
        # Versions that did not note what they were about to put there broke off over these.
        self._unsure: set[str] = set()
        self._siblings: dict[tuple[str, str], tuple[str, ...]] = {}
        self._deaths: dict[str, tuple[str, str, int]] = {}
        self._read = 0
        self._handle: int | None = None
        self._guard = threading.RLock()
        self.refresh()

    def owner(self, artefact: str) -> Entry | None:
        """The latest entry that names the artefact (path relative to the folder), or None."""
        return self._owner.get(artefact)

    def knows(self, artefact: str) -> bool:
        """Whether d2m made a file of this name here; what lies there now may be another."""
        return artefact in self._digests or artefact in self._unsure

    def is_own(self, path: Path) -> bool:
        """Whether a file is what d2m made, as it made it: it is read where its stamp does not vouch for it."""
        name = self.relative(path)
        if name in self._unsure:
            return True
        digests, entry = self._digests.get(name), self.owner(name)
        if digests is None:
            return False
        try:
            stamp = entry.stamps.get(name) if entry is not None and entry.made else None
            return (stamp is not None and stamp.vouches_for(Stamp.of(path))) or read_digest(path)[0] in digests
        except OSError:
            return False

    def in_hand(self, run: str) -> tuple[Entry, ...]:
        """What a run has in hand: lines of "started" or "placing", and nothing of the same after them yet."""
        return tuple(self._begun[run].values()) if run in self._begun else ()

    def is_in_hand(self, entry: Entry) -> bool:
        """Whether this is the line of something that its run has in hand."""
        return any(entry is one for one in self.in_hand(entry.run))

    def owned(self) -> Mapping[str, Entry]:
        """All artefacts that entries name, by path relative to the folder, with the latest entry of each."""
        return self._owner

    def siblings(self, command: str, stem: str) -> frozenset[str]:
        """All artefacts that a command ever made under this stem."""
        return frozenset(self._siblings.get((command, stem), ()))

    def beside(
        self, command: str, stem: str, content: str, settings: str, artefacts: Mapping[str, Path]
    ) -> tuple[str, ...]:
        """Suffixes of what a command made under this stem of the same, beside these artefacts, and is what it was."""
        given = {self.relative(path) for path in artefacts.values()}
        others = sorted(self.siblings(command, stem) - given)
        return tuple(
            name.removeprefix(stem) for name in others if self.is_done(content, settings, {"": self.folder / name})
        )

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

    @property
    def deadly(self) -> bool:
        """Whether d2m died over any file since it last finished one."""
        return bool(self._deaths)

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
            line = json.dumps(to_json(entry), ensure_ascii=True, allow_nan=False).encode() + b"\n"
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
        """Keep other processes and threads from adding lines meanwhile; what they added before is read first.

        Raises
        ------
        OutputError
            The ledger can't be written.
        """
        with self._guard:
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
            # Opening a pipe would wait for ever.
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise OutputError(f"{self.path}: the ledger can't be read (not a regular file): move it away")
            with self._guard, self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read:
                    # Another file lies there now.
                    self._forget()
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    entry = parse(line)
                    if entry is not None:
                        self._take(entry)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise OutputError(f"{self.path}: the ledger can't be read ({error.strerror})") from error

    def relative(self, path: Path) -> str:
        """A path below the folder as the ledger writes it."""
        text = os.fspath(path)
        if os.sep == "/" and text.startswith(self._below):
            return text[len(self._below) :]  # the same, without taking the path apart
        return path.relative_to(self.folder).as_posix()

    def _add_sibling(self, entry: Entry, artefact: str) -> None:
        names = self._siblings.get((entry.command, entry.stem), ())
        if artefact not in names:
            self._siblings[entry.command, entry.stem] = (*names, artefact)

    def _forget(self) -> None:
        self._read = 0
        self._unsure.clear()
        for known in (self._begun, self._owner, self._digests, self._deaths, self._siblings):
            known.clear()

    def _take(self, entry: Entry) -> None:
        if not entry.run and entry.status == "started":
            self._unsure.update(artefact.path for artefact in entry.artefacts)
        elif not entry.run or entry.made or entry.status == "removed":
            self._unsure.difference_update(artefact.path for artefact in entry.artefacts)
        for artefact in entry.artefacts:
            self._owner[artefact.path] = entry
            if entry.made:
                self._digests[artefact.path] = (artefact.digest,)
                self._add_sibling(entry, artefact.path)
            elif entry.status == "placing":
                self._digests[artefact.path] = (*self._digests.get(artefact.path, ()), artefact.digest)
            elif entry.status == "removed":
                del self._owner[artefact.path]
                self._digests.pop(artefact.path, None)
                left = self._siblings.get((entry.command, entry.stem), ())
                self._siblings[entry.command, entry.stem] = tuple(name for name in left if name != artefact.path)
        if entry.status in ("checked", "removed"):
            return
        what = entry.artefacts[0].path if entry.artefacts else ""
        if entry.status in ("started", "placing"):
            self._begun[entry.run][what] = entry
            return
        if entry.run in self._begun:
            self._begun[entry.run].pop(what, None)
            if not self._begun[entry.run]:
                del self._begun[entry.run]
        if entry.status == "done":
            self._deaths.clear()
        elif entry.status == "died":
            for artefact in entry.artefacts:
                content, settings, count = self._deaths.get(artefact.path, ("", "", 0))
                again = (content, settings) == (entry.content, entry.settings)
                self._deaths[artefact.path] = (entry.content, entry.settings, count + 1 if again else 1)


def _write_all(handle: int, line: bytes) -> None:
    while line:
        line = line[os.write(handle, line) :]


def _ends_midline(handle: int) -> bool:
    size = os.lseek(handle, 0, os.SEEK_END)
    if size == 0:
        return False
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) != b"\n"


__all__ = ["INPUT", "LEDGER_NAME", "Artefact", "Entry", "Ledger", "Status"]
