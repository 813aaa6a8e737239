"""Numbers behind the names of pieces of music: the same for the same piece, in whatever order they are asked for."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from d2m_cli.batch.naming import candidates, place_from
from d2m_cli.batch.pieces import Piece
from d2m_cli.errors import InputError
from d2m_cli.ground.ledger import Ledger
from d2m_cli.ground.real_paths import RealPaths
from d2m_cli.ground.search import Found


def numbered(items: Sequence[Found], ledger: Ledger, settings_of: Callable[[Found], str]) -> list[Found]:
    """Give pieces whose names differ by their numbers alone those that the ledger has for the same.

    A piece is the same where video and settings are. The others get the numbers that are left, in order; what has none
    counts as the first.

    Parameters
    ----------
    items
        Pieces as they were counted, and videos, which stay as they are.
    ledger
        Of the folder of the results.
    settings_of
        Tells the digest of the settings of an item; an `InputError` makes it like no other.
    """
    alike: dict[tuple[Path, Path | None, str], list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        if isinstance(item, Piece):
            alike[item.path, item.share, item.called].append(number)
    if not alike or not ledger.has_entries:
        return list(items)
    made: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in ledger.owned().values():
        made[entry.place, entry.settings].add(entry.stem)
    real, folder = RealPaths(), os.path.realpath(ledger.folder)

    def known(piece: Piece) -> list[Path]:
        """Stems that a piece has results under, without what keeps them apart from those of other videos."""
        place = place_from(real.of(piece.path), folder)
        try:
            stems = made.get((place, settings_of(piece)), set())
        except InputError:  # which is told as what went wrong with this video
            return []
        found = []
        for stem in sorted(stems, key=lambda stem: (len(stem), stem)):
            match = re.match(rf"{re.escape(piece.called)}(?:_[1-9][0-9]*)?", Path(stem).name)
            own = piece.stem.with_name(match[0]) if match is not None else None
            if own is not None and Path(stem) in candidates(replace(piece, stem=own), real.of(piece.path), place):
                found.append(own)
        return found

    told = list(items)
    for numbers in alike.values():
        pieces = [item for item in (items[number] for number in numbers) if isinstance(item, Piece)]
        for number, stem in zip(numbers, _shared_out(pieces, [known(piece) for piece in pieces]), strict=True):
            told[number] = replace(items[number], stem=stem)
    return told


def _shared_out(pieces: Sequence[Piece], known: Sequence[Sequence[Path]]) -> Iterator[Path]:
    """A stem for each of some pieces of one name, all different."""
    stems: dict[int, Path] = {}
    for again in (True, False):
        for number, (piece, there) in enumerate(zip(pieces, known, strict=True)):
            free = [stem for stem in there if stem not in stems.values() and number not in stems]
            wanted = [stem for stem in free if stem == piece.stem or not again]
            if wanted:
                stems[number] = wanted[0]
    plain = pieces[0].stem.with_name(pieces[0].called)
    taken = {*stems.values(), *([_counted(plain, 1)] if plain in stems.values() else [])}
    left = (stem for stem in map(lambda number: _counted(plain, number), count(1)) if stem not in taken)
    for number in range(len(pieces)):
        yield stems[number] if number in stems else plain if len(pieces) == 1 else next(left)


def _counted(plain: Path, number: int) -> Path:
    return plain.with_name(f"{plain.name}_{number}")
