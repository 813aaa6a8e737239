"""Tables that users write by hand: lines of UTF-8 with commas, the first of which names the columns."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.printable import quote

LONGEST_CELL = 4096
"""Letters; no system knows longer paths."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class LineError(Exception):
    """A line of a table can't be used.

    Attributes
    ----------
    cause
        Why, in words that follow the number of the line.
    detail
        What of the line is wrong, or "".
    """

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause + detail)
        self.cause, self.detail = cause, detail


@dataclass(frozen=True, slots=True)
class TableLine:
    """A line of a table that is not empty.

    Attributes
    ----------
    number
        In the file, from 1.
    text
        As it stands there.
    cells
        Value by column, "" where there is none; or why there are none.
    """

    number: int
    text: str
    cells: Mapping[str, str] | LineError


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


def table_lines(source: Path, columns: Sequence[str], optional: Sequence[str]) -> list[TableLine]:
    """All lines behind the first that are not empty, each read by itself: one that is wrong costs no other.

    Parameters
    ----------
    source
        The .csv file, UTF-8 with commas.
    columns, optional
        Names of the columns that it must have, and of those that it may have.

    Raises
    ------
    UsageError
        The table can't be read, or a column is missing or unknown.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {source}: {error.strerror or error}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{source} is UTF-16; save the table as UTF-8")
    lines: list[TableLine] = []
    header: list[str] = []
    # Each line by itself, so that a quote left open or a wrong byte costs that line alone.
    for number, raw in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        text = raw.decode("utf-8", "backslashreplace")
        try:
            cells = _cells(raw)
        except LineError as error:
            if not header:
                raise UsageError(f"{source}: line {number} {error}: {quote(text)}") from error
            lines.append(TableLine(number, text, error))
            continue
        if not any(cells):
            continue
        if not header:
            header = _checked_header(source, [cell.lower() for cell in cells], columns, optional)
            continue
        lines.append(TableLine(number, text, _by_column(header, cells)))
    if not header:
        raise UsageError(f"{source} is empty; its first line must be {','.join(columns)}")
    return lines


def _cells(raw: bytes) -> list[str]:
    try:
        rows = list(csv.reader([raw.decode("utf-8")], strict=True))
    except UnicodeDecodeError as error:
        raise LineError("is not UTF-8; save the table as UTF-8") from error
    except csv.Error as error:
        raise LineError(f"is no line of a table ({error})") from error
    return [cell.strip() for cell in rows[0]] if rows else []


def _by_column(header: list[str], cells: list[str]) -> Mapping[str, str] | LineError:
    if len(cells) > len(header):
        return LineError(
            "has more cells than the first line; put names with commas in quotes, and write numbers with a point"
        )
    for cell in cells:
        if len(cell) > LONGEST_CELL:
            return LineError(f"holds a name of more than {LONGEST_CELL} letters", f": {quote(cell)}")
        if _UNPRINTABLE.search(cell):
            return LineError("holds signs that are no letters", f": {quote(cell)}")
    return dict(zip_longest(header, cells, fillvalue=""))


def _checked_header(source: Path, header: list[str], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    known = f"{','.join(columns)} and, where wanted, {','.join(optional)}, separated by commas"
    missing = [name for name in columns if name not in header]
    for sign, signs in ((";", "semicolons"), ("\t", "tabs")):
        # As spreadsheets write them where commas stand in numbers.
        if missing and len(header) == 1 and sign in header[0]:
            raise UsageError(f"{source}: its columns are separated by {signs}; save the table with commas: {known}")
    if missing:
        raise UsageError(f"{source}: its first line lacks {', '.join(missing)}; it must be {known}")
    unknown = [name for name in header if name not in (*columns, *optional)]
    if unknown or len(set(header)) < len(header):
        odd = ", ".join(repr(name) for name in unknown) or "a column twice"
        raise UsageError(f"{source}: its first line holds {odd}; it must be {known}")
    return header
