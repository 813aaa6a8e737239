"""What the results of an input are called: names that stay, whatever other inputs come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path, PurePosixPath

from d2m_cli.ground.ledger import Entry, Ledger
from d2m_cli.ground.real_paths import RealPaths
from d2m_cli.ground.search import Found, name_key

LONGEST = 231
"""Bytes of a name without what d2m puts behind it: file systems take 255, and suffixes need their share."""


def keep_apart(items: Sequence[Found], artefacts: Sequence[str], ledger: Ledger) -> list[Found]:
    """Give every item a name of its own, the one that it had before where the ledger knows one.

    A name belongs to the input that had it first. An input that comes later, or later in the order, gets a longer one:
    with its suffix ("clip.avi" beside "clip" of clip.mp4), or, where that has the same file name, with its folder
    ("b/clip"), and at last with a digest of its path. Names are the same where only the case of letters differs.

    A name whose input is gone stays taken; only an input of the same file name, which may have been moved, has it.

    Nor does any result of one lie where one of another does: where takes are kept, "a.take-1.wav" is of "a".

    Parameters
    ----------
    items
        As found; their stems may fall together.
    artefacts
        Suffixes of what is made.
    ledger
        Of the folder of the results.

    Returns
    -------
    The items in the same order, all stems different, none too long. Several items may have the same file; their stems
    must differ already.
    """
    names = _Names(items, artefacts, ledger)
    stems: dict[int, Path] = {}
    for again in (True, False):
        for number, item in enumerate(items):
            stem = names.known(item) if again else names.new(item) if number not in stems else None
            if stem is not None:
                names.take(stem, item)
                stems[number] = stem
    return [replace(item, stem=stems[number]) for number, item in enumerate(items)]


def place(path: Path, folder: Path) -> str:
    """Path of an input from a folder of results, with forward slashes, as `Entry.place` has it."""
    return place_from(os.path.realpath(path), os.path.realpath(folder))


def place_from(path: str, folder: str) -> str:
    """`place` of what is resolved already."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return Path(path).as_posix()


class _Names:
    def __init__(self, items: Sequence[Found], artefacts: Sequence[str], ledger: Ledger) -> None:
        self._artefacts = artefacts
        self._folder = ledger.folder
        real, folder = RealPaths(), os.path.realpath(ledger.folder)
        self._real = {item.path: real.of(item.path) for item in items}
        self._places = {path: place_from(found, folder) for path, found in self._real.items()}
        self._here = set(self._places.values())
        self._taken: dict[str, str] = {}
        self._reserved: set[str] = set()
        self._owners = {name_key(name): entry for name, entry in ledger.owned().items()}

    def known(self, item: Found) -> Path | None:
        """The name that the ledger has for this very file."""
        if not self._owners:
            return None
        for stem in self._candidates(item):
            owners = self._owners_of(stem)
            if owners and all(owner.place == self._places[item.path] for owner in owners) and self._is_free(stem):
                return stem
        return None

    def new(self, item: Found) -> Path:
        """The shortest name that is free; its suffix is no help against a file of the same name."""
        candidates = self._candidates(item)
        short = next(candidates)
        alike = _with_suffix(item) if self._holder(short) == item.path.name else None
        for stem in chain((short,), candidates):
            if stem == alike or not self._is_free(stem):
                continue
            if all(self._may_have(item, owner) for owner in self._owners_of(stem)):
                return stem
        raise AssertionError("a digest of the path is nobody else's")

    def take(self, stem: Path, item: Found) -> None:
        self._taken[name_key(stem)] = item.path.name
        self._reserved.update(self._results(stem))

    def _is_free(self, stem: Path) -> bool:
        return self._reserved.isdisjoint(self._results(stem))

    def _results(self, stem: Path) -> list[str]:
        return [name_key(stem.as_posix() + suffix) for suffix in self._artefacts]

    def _holder(self, stem: Path) -> str | None:
        """File name of the input that has a name already."""
        owners = self._owners_of(stem)
        return self._taken.get(name_key(stem)) or (_file_name(owners[0]) if owners else None)

    def _owners_of(self, stem: Path) -> list[Entry]:
        if not self._owners:
            return []
        found = (self._owners.get(name) for name in self._results(stem))
        return [entry for entry in found if entry is not None]

    def _may_have(self, item: Found, owner: Entry) -> bool:
        if owner.place == self._places[item.path]:
            return True
        if _file_name(owner) != item.path.name:
            return False
        # Ledgers of older versions don't say where an input lies from here.
        return not owner.place or not (owner.place in self._here or (self._folder / owner.place).exists())

    def _candidates(self, item: Found) -> Iterator[Path]:
        return candidates(item, self._real[item.path], self._places[item.path])


def candidates(item: Found, real: str, from_here: str) -> Iterator[Path]:
    """All names that the results of an item may have, the shortest first.

    Parameters
    ----------
    item
        Its stem is the first.
    real, from_here
        Its path without links, and its `place`.
    """
    stem = item.stem
    yield _fitting(stem)
    if (with_suffix := _with_suffix(item)) != stem:
        yield _fitting(with_suffix)
    yield Path(_fitting(Path(Path(real).parent.name or "root")).name) / _fitting(stem)
    # What is cut off a name may be all that tells one of several works on a file from another.
    digest = _digest(from_here + (f"\0{stem.name}" if item.share is not None else ""))
    yield _fitting(stem.with_name(f"{_fitting(stem).name[:60]}-{digest}"))


def _with_suffix(item: Found) -> Path:
    """The name of an item with the suffix of its file."""
    name, whole = item.stem.name, item.path.name
    return item.stem.with_name(whole if whole == name or whole.startswith(f"{name}.") else f"{name}{item.path.suffix}")


def _file_name(entry: Entry) -> str:
    return PurePosixPath(entry.place or Path(entry.input).as_posix()).name


def _fitting(stem: Path) -> Path:
    """A name that is too long for most file systems, cut, with a digest of the whole behind it."""
    name = os.fsencode(stem.name)
    if len(name) <= LONGEST:
        return stem
    digest = blake2b(name, digest_size=4).hexdigest()
    return stem.with_name(f"{name[: LONGEST - 9].decode(errors='ignore')}-{digest}")


def _digest(place: str) -> str:
    return blake2b(os.fsencode(place), digest_size=8).hexdigest()
