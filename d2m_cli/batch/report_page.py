"""The page over a folder of results: when it is written, and what it lists.

The page is told by the ledger like any result, so that a file of that name that d2m did not make, or that was changed
since, is left alone, and a run that finds nothing to do knows that the page is up to date.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from d2m_cli import __version__
from d2m_cli.batch.outcome import cause
from d2m_cli.batch.report_drawing import FOLDER, draw_again, drawing_path, remove_others
from d2m_cli.batch.runs import is_alive
from d2m_cli.errors import ResultError, UsageError
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.ledger import LEDGER_NAME, Artefact, Entry, Ledger, Status
from d2m_cli.ground.options import option
from d2m_cli.ground.printable import printable
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.search import name_key
from d2m_cli.ground.stores import Folder
from d2m_cli.report.page.html import render
from d2m_cli.report.page.listing import list_failed, list_made
from d2m_cli.report.page.sidecar import read_head
from d2m_cli.report.page.values import Head, Listed

PAGE = "report.html"
PAGE_COMMAND = "report"
"""What the ledger calls the making of pages."""
PER_PAGE = 300
MOST = 3000
"""Results that are listed, the latest: a page over a hundred thousand would help nobody, and take long."""
FORMAT = 2
"""Of the page: to be raised when it is to be written again though no result changed."""

Made = dict[str, Entry]
"""Path of the results without a suffix, to the latest line of the ledger on them."""


@dataclass(frozen=True)
class ReportPage:
    """Writes the page of a folder at the end of a batch.

    Attributes
    ----------
    overwrite
        Replace also a page that d2m did not make.
    """

    overwrite: bool = False

    def check(self, ledger: Ledger) -> None:
        """See that the page can be written later.

        Raises
        ------
        UsageError
            A file that is not d2m's lies in its place.
        """
        if _is_in_the_way(ledger, PAGE, self.overwrite):
            raise UsageError(
                f"{_in_the_way(ledger, PAGE)}: move it, choose another folder with {option('out')}, leave the page out "
                f"with {option('report', False)}, or add {option('overwrite', True)}"
            )

    def write(self, ledger: Ledger) -> Path | None:
        """Write the page where it is not up to date; None where there is nothing to list.

        Several processes may do this at once, and some may finish results meanwhile: whoever is last to finish a result
        leaves a page that holds it.

        Raises
        ------
        OutputError
            It can't be written.
        """
        return _bring_up_to_date(ledger, self.overwrite, lambda made: made)


def report(
    folder: Path,
    *,
    cache: FileCache | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the page of a folder of results again, and draw what is not drawn yet.

    Parameters
    ----------
    folder
        That ``d2m generate`` wrote results to.
    cache
        Where poses may be kept, for the skeletons; what is not kept is not estimated again.
    overwrite
        Draw everything again, and replace a page that d2m did not make.
    progress
        Told how far it is, and what can't be drawn.

    Raises
    ------
    UsageError
        The folder holds no results of ``d2m generate``.
    OutputError
        The page can't be written.
    """
    if not (folder / LEDGER_NAME).is_file():
        raise UsageError(f"{folder} holds no {LEDGER_NAME}: name a folder that 'd2m generate' wrote results to")
    ledger = Ledger(folder)
    if _is_in_the_way(ledger, PAGE, overwrite):
        raise UsageError(f"{_in_the_way(ledger, PAGE)}: move it, or add {option('overwrite', True)}")

    progress = progress or Progress(quiet=True)
    drawn: set[tuple[str, str]] = set()

    def draw(made: Made) -> Made:
        todo = [
            (stem, entry, name)
            for stem, entry in made.items()
            if (name := _record_of(entry)) is not None
            and (stem, entry.content) not in drawn
            and (overwrite or _head(ledger, stem, entry) is None)
            and (folder / name).is_file()
        ]
        with progress.stage("drawing", len(todo)) as advance:
            for stem, entry, name in todo:
                drawn.add((stem, entry.content))
                why = draw_again(drawing_path(folder, stem), folder, stem, entry, folder / name, cache)
                if why is not None:
                    progress.say(f"d2m: {printable(stem)}: not drawn: {why}")
                advance()
        return made

    page = _bring_up_to_date(ledger, overwrite, draw, again=True)
    if page is None:
        raise UsageError(f"{folder} holds no results of 'd2m generate'")
    return page


def _bring_up_to_date(
    ledger: Ledger, overwrite: bool, prepare: Callable[[Made], Made], again: bool = False
) -> Path | None:
    path = ledger.folder / PAGE
    while True:
        ledger.refresh()
        before = ledger.owner(PAGE)
        every = _results(ledger)
        if not every:
            return None
        state = _fingerprint(every)
        if not again and _is_up_to_date(ledger, before, state):
            return path
        pages = _pages(ledger, prepare(_latest(every)), len(every))
        with ledger.locked():
            # Another process may have written one that tells of more meanwhile.
            if ledger.owner(PAGE) is before:
                _place(ledger, pages, state, overwrite)
                remove_others(ledger.folder, _made_or_in_hand(ledger))
                return path


def _results(ledger: Ledger) -> Made:
    """All results of ``d2m generate`` by name, with the latest line on each; not those that are just being made."""
    found: Made = {}
    for entry in ledger.owned().values():
        stem = _stem(entry)
        known = found.get(stem)
        if stem and (known is None or (entry.at, entry.made) > (known.at, known.made)):
            found[stem] = entry
    alive: dict[str, bool] = {}
    for stem, entry in list(found.items()):
        if entry.status in ("started", "placing") and ledger.is_in_hand(entry):
            if entry.run not in alive:
                alive[entry.run] = is_alive(ledger, entry.run)
            if alive[entry.run]:
                del found[stem]
    return found


def _made_or_in_hand(ledger: Ledger) -> set[str]:
    """Names of all results that have a drawing, or get one."""
    return {_stem(entry) for entry in ledger.owned().values() if entry.made or ledger.is_in_hand(entry)}


def _stem(entry: Entry) -> str:
    """Name of a result of ``d2m generate``; "" for what is none."""
    if entry.command not in ("generate", ""):
        return ""
    return entry.stem or (entry.artefacts[0].path.rsplit(".", 1)[0] if entry.artefacts else "")


def _fingerprint(every: Made) -> str:
    """Digest of all that is known of results: the same as long as no result changes."""
    digest = blake2b(f"{FORMAT} {__version__}".encode(), digest_size=16)
    for stem in sorted(every):
        entry = every[stem]
        made = " ".join(artefact.digest for artefact in entry.artefacts) if entry.made else entry.status
        digest.update(f"{stem}\0{made}\0{entry.error or ''}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _is_up_to_date(ledger: Ledger, page: Entry | None, state: str) -> bool:
    if page is None or not page.made or page.command != PAGE_COMMAND or page.content != state:
        return False
    return all(ledger.is_own(ledger.folder / artefact.path) for artefact in page.artefacts)


def _latest(every: Made) -> Made:
    if len(every) <= MOST:
        return every
    latest = sorted(every, key=lambda stem: every[stem].at, reverse=True)[:MOST]
    return {stem: every[stem] for stem in latest}


def _pages(ledger: Ledger, made: Made, total: int) -> dict[str, bytes]:
    """Name to content of each page."""
    listed = _ordered([_listed(ledger, stem, entry) for stem, entry in made.items()])
    parts = [listed[first : first + PER_PAGE] for first in range(0, len(listed), PER_PAGE)]
    names = [PAGE, *(f"report-{number}.html" for number in range(2, len(parts) + 1))]
    links = [
        (f"{PER_PAGE * number + 1}–{PER_PAGE * number + len(part)}", name)
        for number, (part, name) in enumerate(zip(parts, names, strict=True))
    ]
    title = Path(os.path.realpath(ledger.folder)).name or "results"
    return {
        name: render(part, title=title, listed=len(listed), total=total, pages=links, page=number).encode(
            errors="backslashreplace"
        )
        for number, (part, name) in enumerate(zip(parts, names, strict=True))
    }


def _ordered(listed: Sequence[Listed]) -> list[Listed]:
    """What has no music first, then by name, with all results of one video where the first of them is."""
    first: dict[str, str] = {}
    for one in sorted(listed, key=lambda one: name_key(one.name)):
        first.setdefault(one.source, name_key(one.name))
    return sorted(listed, key=lambda one: (one.state == "done", first[one.source], one.source, name_key(one.name)))


def _listed(ledger: Ledger, stem: str, entry: Entry) -> Listed:
    if entry.status == "failed":
        return list_failed(stem, entry, "failed", cause(entry.input, entry.error or "it is not known why"))
    if not entry.made:
        why = "d2m ended while it worked on this video; the same command makes it"
        return list_failed(stem, entry, "not finished", why)
    record = _record_of(entry)
    try:
        if record is None:
            raise ValueError("the ledger lists no record of it")
        document = json.loads((ledger.folder / record).read_bytes())
        head = _head(ledger, stem, entry)
        return list_made(stem, entry, document, f"{FOLDER}/{stem}.js" if head is not None else None, head)
    except OSError as error:
        why = f"its record {record} can't be read ({error.strerror}): it was moved or removed since"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"its record {record} is not as d2m writes it ({type(error).__name__}: {error})"
    return list_failed(stem, entry, "missing", why)


def _record_of(entry: Entry) -> str | None:
    if not entry.made:
        return None
    return next((artefact.path for artefact in entry.artefacts if artefact.path.endswith(".json")), None)


def _head(ledger: Ledger, stem: str, entry: Entry) -> Head | None:
    """Head of the drawing of these very results; None where there is none, or one of others of the same name."""
    head = read_head(drawing_path(ledger.folder, stem))
    if head is None:
        return None
    record = next((artefact for artefact in entry.artefacts if artefact.path.endswith(".json")), None)
    return head if record is not None and record.digest == head.record else None


def _is_in_the_way(ledger: Ledger, name: str, overwrite: bool) -> bool:
    path = ledger.folder / name
    return os.path.lexists(path) and (path.is_dir() or not (overwrite or ledger.is_own(path)))


def _in_the_way(ledger: Ledger, name: str) -> str:
    what = "was changed since d2m made it" if ledger.knows(name) else "is in the way and d2m did not make it"
    return f"{ledger.folder / name} {what}"


def _place(ledger: Ledger, pages: dict[str, bytes], state: str, overwrite: bool) -> None:
    """Put pages in their places, and note it; the ledger is locked."""
    for name in pages:
        if _is_in_the_way(ledger, name, overwrite):
            raise ResultError(f"{_in_the_way(ledger, name)}: move it, or add {option('overwrite', True)}")
    before = ledger.owner(PAGE)
    artefacts = tuple(
        Artefact(name, len(text), blake2b(text, digest_size=16).hexdigest()) for name, text in pages.items()
    )
    _note(ledger, "placing", state, artefacts)
    # The first page last: its links then lead somewhere.
    for name, text in reversed(pages.items()):
        with atomic_path(ledger.folder / name) as part:
            part.write_bytes(text)
    # Not "done", which would say that d2m has got over whatever it died over.
    _note(ledger, "checked", state, artefacts)
    for old in before.artefacts if before is not None else ():
        if old.path not in pages and ledger.is_own(ledger.folder / old.path):
            (ledger.folder / old.path).unlink(missing_ok=True)
            _note(ledger, "removed", state, (Artefact(old.path, -1, ""),))


def _note(ledger: Ledger, status: Status, state: str, artefacts: tuple[Artefact, ...]) -> None:
    done = status == "checked"
    stamps = {one.path: Folder().settled(ledger.folder / one.path) for one in artefacts} if done else {}
    ledger.add(
        Entry(
            PAGE,
            state,
            "",
            status,
            artefacts,
            command=PAGE_COMMAND,
            stem="report",
            stamps=stamps,
            at=time.time(),
        )
    )
