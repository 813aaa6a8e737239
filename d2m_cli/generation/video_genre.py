"""The genre of a video whose genre is "auto": from a table that names it, else from a name as AIST gives its dances."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from d2m_cli.errors import InputError, UsageError
from d2m_cli.ground.aist import parse_clip_name
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.options import option
from d2m_cli.ground.tables import table_rows

AUTO = "auto"
"""In place of a genre: that of each video."""
NAMES = ("name", "clip")
"""What the column of names may be called, in order of preference."""


def read_genre_table(path: Path) -> dict[str, str]:
    """Read a table with the columns "name", or "clip" as evaluation has it, and "genre", in UTF-8 and with commas.

    Parameters
    ----------
    path
        The .csv file. A name is that of a video, or the end of its path, with or without the suffix; a genre is one of
        the ten, by code or name. Lines without a genre and other columns say nothing.

    Returns
    -------
    Name to two-letter code.

    Raises
    ------
    UsageError
        It can't be read, lacks a column, names an unknown genre, or gives a name two genres; the text gives the line.
    """
    found: dict[str, str] = {}
    for where, row in table_rows(path, _has_columns, "the columns name and genre"):
        name, genre = (_plain(row[column]) for column in (next(c for c in NAMES if c in row), "genre"))
        if not genre:
            continue
        if not name:
            raise UsageError(f"{where}: there is a genre and no name of a video")
        try:
            code = genre_code(genre)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        if found.setdefault(name, code) != code:
            raise UsageError(f"{where}: {name} is {found[name]} in a line before; leave one of the two")
    return found


def _has_columns(columns: tuple[str, ...]) -> bool:
    return "genre" in columns and any(name in columns for name in NAMES)


def genre_of_video(video: Path, table: Mapping[str, str], source: Path | None = None) -> str:
    """Two-letter code of a video's genre.

    Parameters
    ----------
    video
        The file; of its path the longest end that the table names counts, with the suffix before without it.
    table
        From `read_genre_table`; what it does not name is read off the file's name.
    source
        File of the table, for the error.

    Raises
    ------
    InputError
        Neither says it.
    """
    parts = [unicodedata.normalize("NFC", part) for part in video.absolute().parts]
    for start in range(len(parts)):
        whole = Path(*parts[start:])
        for name in (whole.as_posix(), whole.with_suffix("").as_posix()):
            if name in table:
                return table[name]
    aist = parse_clip_name(video.stem)
    if aist is not None:
        return aist.genre
    lacking = f"no line of {source} names it" if source is not None else "there is no table that names it"
    mend = "add the line there" if source is not None else f"give a table with {option('genre_table')}"
    raise InputError(
        f"{video}: its genre can't be told: its name is none of AIST's (such as gLO_sBM_c01_d13_mLO2_ch02), and "
        f"{lacking}; {mend}, or name one genre for all videos with {option('genre')}"
    )


def _plain(value: str | None) -> str:
    return unicodedata.normalize("NFC", (value or "").strip()).removeprefix("./")
