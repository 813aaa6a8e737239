"""Tables that users write by hand: lines of UTF-8 with commas, the first of which names the columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from d2m_cli.errors import UsageError


def table_rows(
    path: Path, suits: Callable[[tuple[str, ...]], bool], wanted: str
) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """Lines of a table one by one.

    Parameters
    ----------
    path
        The .csv file.
    suits
        Whether the names of its columns are those that are needed.
    wanted
        Those columns in words, for the error: "the columns name and genre".

    Yields
    ------
    File and line in words, to begin an error with, and the values by column; what has no column lies under None, and a
    column without a value holds None.

    Raises
    ------
    UsageError
        The file can't be read, or its columns do not suit.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = tuple(reader.fieldnames or ())
            if not suits(columns):
                raise UsageError(
                    f"{path}: its first line must name {wanted}, with commas between them, not "
                    f"{', '.join(columns) or 'nothing'}"
                )
            for row in reader:
                yield f"{path}, line {reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: can't be read as a table in UTF-8 ({error})") from error
