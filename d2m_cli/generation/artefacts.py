"""What files a piece of music is written to, by their suffixes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option

SOUNDS = ("wav", "flac", "mp3", "m4a")
FILMS = ("mp4", "mkv")
FORMATS = (*SOUNDS, *FILMS)
USUAL = ("wav", "mp4")

RECORD = ".json"
_TAKE = re.compile(r"\.take-([0-9]+)\.wav")


def parse_formats(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of formats, each once, from lists of them with commas, such as ["wav,flac", "mp4"].

    Raises
    ------
    UsageError
        A name is none of `FORMATS`, or there is none at all.
    """
    names = [name.strip().lower().removeprefix(".") for text in texts for name in text.split(",")]
    unknown = [name for name in names if name and name not in FORMATS]
    if unknown:
        raise UsageError(f"{option('format')} must be of {', '.join(FORMATS)}, not {unknown[0]!r}")
    found = tuple(dict.fromkeys(name for name in names if name))
    if not found:
        raise UsageError(f"{option('format')} names no format: give any of {', '.join(FORMATS)}, with commas")
    return found


def suffixes(formats: Sequence[str], takes: int = 0) -> tuple[str, ...]:
    """Suffixes of all files of one piece: the formats, so many takes, and the record at last."""
    return (*(f".{name}" for name in formats), *(take_suffix(number) for number in range(1, takes + 1)), RECORD)


def take_suffix(number: int) -> str:
    """Suffix of the piece as it would be with take `number` of each window, from 1."""
    return f".take-{number}.wav"


def take_number(suffix: str) -> int | None:
    """The number in a suffix that `take_suffix` gives; None for another."""
    found = _TAKE.fullmatch(suffix)
    return int(found[1]) if found else None


def is_take(path: Path) -> bool:
    """Whether a file is called as such a piece is."""
    return take_number("".join(path.suffixes[-2:])) is not None
