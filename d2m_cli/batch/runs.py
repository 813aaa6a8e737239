"""Which runs are at work in a result folder, on which results, and where each keeps what is not finished."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from uuid import uuid4

from d2m_cli.batch.leases import CARD, LEASE_SECONDS, Pulse, is_at_work, is_at_work_for_sure, unheard
from d2m_cli.batch.voice import say
from d2m_cli.ground.files import output_error
from d2m_cli.ground.ledger import Ledger, Status
from d2m_cli.ground.locks import lock

_MARK = ".d2m-run-"
_WORK = "work"


@dataclass(frozen=True)
class OtherRun:
    """Another run that is at work in the same folder.

    Attributes
    ----------
    who
        Its process and machine, in words.
    settings
        Digest of its settings.
    artefacts
        Suffixes of what it makes.
    results
        Artefacts (as the ledger names them) that it has claimed.
    command
        What it makes; "" where its version does not say.
    begun
        When it claimed them, in seconds since 1970; 0 where its version does not say.
    again
        Statuses of entries from before that it does again.
    own_settings
        Whether each file has settings of its own, of which `settings` says nothing.
    apart
        Whether other processes do its work.
    """

    who: str
    settings: str
    artefacts: tuple[str, ...]
    results: frozenset[str]
    command: str = ""
    begun: float = 0.0
    again: tuple[str, ...] = ()
    own_settings: bool = False
    apart: bool = False


class Run:
    """One run's claim on its results, from the first file it works on to its end.

    The claim is a hidden folder ``.d2m-run-NAME`` beside the ledger, with a card that says what is claimed. The card is
    locked for as long as the process lives, so that a run that was killed is known by its card being free, and by a
    count beside it that other machines see stand still (`d2m_cli.batch.leases`); one that ended in order takes its
    folder away. Results are made in that folder too, and moved to their places all at once.

    Attributes
    ----------
    name
        Of the run.
    folder
        The hidden folder.
    others
        Runs that were at work when this one began.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: str,
        artefacts: Sequence[str],
        results: Iterable[str],
        command: str = "",
        again: Sequence[str] = (),
        own_settings: bool = False,
        apart: bool = False,
    ) -> None:
        """Claim `results`, but for those that another run has claimed for other settings.

        With `apart` the work is done in other processes, and the end of this one is no word against a file.

        Raises
        ------
        OutputError
            The folder can't be written to.
        """
        self.name = uuid4().hex[:12]
        self.folder = ledger.folder / f"{_MARK}{self.name}"
        self._workshops = count()
        _wait_for_word(ledger, (settings, tuple(artefacts)))
        with ledger.locked():
            self.others = at_work(ledger)
            foreign = {
                result
                for other in self.others
                if (other.settings, other.artefacts) != (settings, tuple(artefacts))
                for result in other.results
            }
            mine = [result for result in results if result not in foreign]
            card = {
                "who": f"process {os.getpid()} on {socket.gethostname()}",
                "settings": settings,
                "artefacts": list(artefacts),
                "results": mine,
                "command": command,
                "begun": time.time(),
                "again": list(again),
                "own_settings": own_settings,
                "apart": apart,
            }
            path = self.folder / CARD
            try:
                self.folder.mkdir()
                self._pulse = Pulse(self.folder)
                self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                lock(self._handle, path, wait=True)
                path.write_text(json.dumps(card) + "\n", encoding="ascii")
            except OSError as error:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise output_error(path, error, whole=True) from error
        self._pulse.begin()

    def refuses(self, results: Iterable[str], settings: str, artefacts: Sequence[str]) -> OtherRun | None:
        """The other run that has claimed one of the results for other settings or other kinds of results."""
        wanted, way = set(results), (settings, tuple(artefacts))
        foreign = (other for other in self.others if (other.settings, other.artefacts) != way)
        return next((other for other in foreign if not wanted.isdisjoint(other.results)), None)

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """An empty folder to make the results of one file in; gone at the end."""
        folder = self.folder / f"{_WORK}{next(self._workshops)}"
        try:
            folder.mkdir()
        except OSError as error:
            raise output_error(folder, error, whole=True) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check(self) -> None:
        """Raise OutputError where another run has taken over what this one claimed."""
        self._pulse.check()

    def end(self) -> None:
        """Give the claim back."""
        self._pulse.end()
        # The card goes last of the files: a folder without one is no sign of a death, whatever the ledger lacks.
        for folder in self.folder.glob(f"{_WORK}*"):
            shutil.rmtree(folder, ignore_errors=True)
        (self.folder / CARD).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._handle)


def at_work(ledger: Ledger) -> tuple[OtherRun, ...]:
    """The runs that are at work in the ledger's folder."""
    cards = [_card(folder) for folder in _folders(ledger.folder) if is_at_work(folder)]
    return tuple(card for card in cards if card is not None)


def is_alive(ledger: Ledger, run: str) -> bool:
    """Whether the run of this name is still at work in the ledger's folder."""
    return bool(run) and is_at_work(ledger.folder / f"{_MARK}{run}")


def has_died(ledger: Ledger, run: str) -> bool:
    """Whether the run of this name ended without a word, and `bury` has not come across it yet."""
    folder = ledger.folder / f"{_MARK}{run}"
    return bool(run) and (folder / CARD).exists() and not is_at_work(folder)


def who(ledger: Ledger, run: str) -> str:
    """The run of this name in words: its process and machine, where its card says them."""
    card = _card(ledger.folder / f"{_MARK}{run}")
    return f"another run ({card.who})" if card is not None else "another run"


def bury(ledger: Ledger) -> None:
    """Note in the ledger which runs died with a file in hand, and remove what they left.

    Raises
    ------
    OutputError
        The folder can't be written to.
    """
    if not any(_folders(ledger.folder)):
        return
    with ledger.locked():
        for folder in _folders(ledger.folder):
            if is_at_work(folder):
                continue
            if (folder / CARD).exists():
                card = _card(folder)
                status: Status = "interrupted" if card is not None and card.apart else "died"
                for in_hand in ledger.in_hand(folder.name.removeprefix(_MARK)):
                    ledger.add(replace(in_hand, status=status, error="d2m itself ended while it worked on this"))
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for_word(ledger: Ledger, way: tuple[str, tuple[str, ...]]) -> None:
    """Wait until it can be told of runs on other machines whether they live, where they would be in this one's way."""
    for folder in _folders(ledger.folder):
        card = _card(folder)
        if card is not None and (card.settings, card.artefacts) != way and unheard(folder) and is_at_work(folder):
            say(f"d2m: another run ({card.who}) has claimed results: seeing for {LEASE_SECONDS:.0f} s whether it lives")
            is_at_work_for_sure(folder)


def _card(folder: Path) -> OtherRun | None:
    # Opening a pipe would wait for ever.
    if not (folder / CARD).is_file():
        return None
    # It may just be ending, or be of a version of d2m that writes other cards: then it claims nothing we know of.
    with suppress(OSError, ValueError, KeyError, TypeError):
        card = json.loads((folder / CARD).read_bytes())
        results = frozenset(map(str, card["results"]))
        silent = unheard(folder)
        return OtherRun(
            who=str(card["who"]) + (f", not heard of for {silent:.0f} s" if silent else ""),
            settings=str(card["settings"]),
            artefacts=tuple(map(str, card["artefacts"])),
            results=results,
            command=str(card.get("command", "")),
            begun=float(card.get("begun", 0.0)),
            again=tuple(map(str, card.get("again", ()))),
            own_settings=bool(card.get("own_settings", False)),
            apart=bool(card.get("apart", False)),
        )
    return None


def _folders(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise output_error(folder, error, whole=True) from error
    # A file of such a name is the user's.
    return [folder / name for name in names if name.startswith(_MARK) and (folder / name).is_dir()]
