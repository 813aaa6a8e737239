"""All weights that d2m knows, and how it stands with each on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2m_cli.errors import MissingWeightsError
from d2m_cli.hub import store
from d2m_cli.hub.catalogue import Download, Weights


@dataclass(frozen=True)
class Row:
    """One line of ``d2m weights list``.

    Attributes
    ----------
    name, purpose, licence, terms, origin
        As in the catalogue or in the manifest of what ships.
    state
        As `d2m_cli.hub.store.Place.state`, or "ships".
    size
        Bytes: on this machine, else as published; None where it is not here and no size is published.
    rounded
        Whether `size` is only about right.
    sha256
        As published, whole or its first digits; "" where it is not, or where it is the hub's to say for each file.
    path
        What is loaded, or None.
    on_hub
        Whether the hub gives sizes and sums.
    """

    name: str
    purpose: str
    licence: str
    terms: str
    origin: str
    state: str
    size: int | None
    rounded: bool
    sha256: str
    path: Path | None
    on_hub: bool

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; what is not published is null."""
        return {
            "name": self.name,
            "purpose": self.purpose,
            "licence": self.licence,
            "terms": self.terms or None,
            "origin": self.origin,
            "state": self.state,
            "size": self.size,
            "size_rounded": self.rounded,
            "sha256": self.sha256 or None,
            "path": None if self.path is None else str(self.path),
        }


def inventory() -> list[Row]:
    """What ships, then the catalogue, then hub models that were fetched beside it."""
    return [*(_shipped(one) for one in store.shipped().values()), *(_row(entry) for entry in store.known_entries())]


def _shipped(one: store.Shipped) -> Row:
    there = one.path.is_file()
    size = one.path.stat().st_size if there else None
    state, path = ("ships", one.path) if there else ("damaged", None)
    return Row(one.name, one.purpose, one.licence, "", one.origin, state, size, False, one.sha256, path, False)


def _row(entry: Weights) -> Row:
    try:
        place = store.look(entry)
    except MissingWeightsError as error:
        place = store.Place("damaged", reason=str(error))
    source = entry.source
    if isinstance(source, Download):
        told, sha256 = source.size, source.sha256 or ""
    else:
        told, sha256 = None if source.megabytes is None else source.megabytes * 10**6, ""
    return Row(
        entry.name,
        entry.purpose,
        entry.licence,
        entry.terms,
        entry.origin,
        place.state,
        place.size or told,
        not place.size and told is not None and not isinstance(source, Download),
        sha256,
        place.path,
        not isinstance(source, Download),
    )
