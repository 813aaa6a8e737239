"""A table of dances and their music: UTF-8, separated by commas, paths relative to the table.

========  =============================================================================================
video     video, ``.pose.npz``, ``.rhythm.json``, or AIST++ keypoints ``.pkl``
audio     sound file, or a video with sound; empty: the video's own sound
genre     one of the ten, by code or name; empty: not known
start     seconds in the audio at which the dance begins; empty: 0
song      optional; empty: the audio's name without suffix
split     optional: train, validation (or val) or test; without the column, the hash of the song's name decides
========  =============================================================================================

A line that can't be used is named, with its number and what is wrong of it, and the others go on.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import Split
from d2m_cli.ground.genres import genre_code, genre_hint
from d2m_cli.media.timeline import LONGEST
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.training.data.clips import Skip
from d2m_cli.training.data.collate import Draft, Drafts, Place, ReadOptions, quote
from d2m_cli.training.data.durations import KEYPOINTS_SUFFIX
from d2m_cli.training.data.splits import split_word

LONGEST_CELL = 4096
"""Letters; no system knows longer paths."""
COLUMNS = ("video", "audio", "genre", "start")
OPTIONAL = ("song", "split")


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


@dataclass(frozen=True)
class _Line:
    """A line that is not empty.

    Attributes
    ----------
    number
        In the file, from 1.
    text
        As it stands there.
    cells
        By column, or why there are none.
    """

    number: int
    text: str
    cells: Mapping[str, str] | _LineError


class _LineError(Exception):
    """A line can't be used; see `Place.skip`."""

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause + detail)
        self.cause, self.detail = cause, detail


def read_manifest(source: Path, options: ReadOptions) -> Drafts:
    """Find the dances of a table.

    Parameters
    ----------
    source
        The .csv file.
    options
        Cameras, for AIST++ keypoints.

    Raises
    ------
    UsageError
        The table can't be read, a column is missing or unknown, or a song is in two splits.
    """
    drafts: list[Draft] = []
    skipped: list[Skip] = []
    seen: dict[tuple[object, ...], int] = {}
    splits: dict[str, tuple[Split, int]] = {}
    for line in _lines(source):
        place = Place(source, line.number, line.text)
        try:
            made = _drafts(line, source, place, options)
        except _LineError as error:
            skipped.append(place.skip(error.cause, error.detail, quoted=bool(error.detail)))
            continue
        for draft in made:
            first = seen.setdefault((draft.dance, draft.view, draft.audio, draft.audio_start), line.number)
            if first != line.number:
                skipped.append(place.skip("repeats another line", f", {first}"))
                continue
            _check_song(draft, splits, source, line.number)
            drafts.append(draft)
    return Drafts(_named(drafts), tuple(skipped), "manifest")


def _lines(source: Path) -> list[_Line]:
    """All lines behind the first that are not empty."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {source}: {error.strerror or error}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{source} is UTF-16; save the table as UTF-8")
    lines: list[_Line] = []
    header: list[str] = []
    # Each line by itself, so that a quote left open or a wrong byte costs that line alone.
    for number, raw in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        text = raw.decode("utf-8", "backslashreplace")
        try:
            cells = _cells(raw)
        except _LineError as error:
            if not header:
                raise UsageError(f"{source}: line {number} {error}: {quote(text)}") from error
            lines.append(_Line(number, text, error))
            continue
        if not any(cells):
            continue
        if not header:
            header = _checked_header(source, [cell.lower() for cell in cells])
            continue
        lines.append(_Line(number, text, _by_column(header, cells)))
    if not header:
        raise UsageError(f"{source} is empty; its first line must be {','.join(COLUMNS)}")
    return lines


def _cells(raw: bytes) -> list[str]:
    try:
        rows = list(csv.reader([raw.decode("utf-8")], strict=True))
    except UnicodeDecodeError as error:
        raise _LineError("is not UTF-8; save the table as UTF-8") from error
    except csv.Error as error:
        raise _LineError(f"is no line of a table ({error})") from error
    return [cell.strip() for cell in rows[0]] if rows else []


def _by_column(header: list[str], cells: list[str]) -> Mapping[str, str] | _LineError:
    if len(cells) > len(header):
        return _LineError(
            "has more cells than the first line; put names with commas in quotes, and write numbers with a point"
        )
    for cell in cells:
        if len(cell) > LONGEST_CELL:
            return _LineError(f"holds a name of more than {LONGEST_CELL} letters", f": {quote(cell)}")
        if _UNPRINTABLE.search(cell):
            return _LineError("holds signs that are no letters", f": {quote(cell)}")
    return dict(zip_longest(header, cells, fillvalue=""))


def _checked_header(source: Path, header: list[str]) -> list[str]:
    known = f"{','.join(COLUMNS)} and, where wanted, {','.join(OPTIONAL)}, separated by commas"
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UsageError(f"{source}: its first line lacks {', '.join(missing)}; it must be {known}")
    unknown = [name for name in header if name not in COLUMNS + OPTIONAL]
    if unknown or len(set(header)) < len(header):
        odd = ", ".join(repr(name) for name in unknown) or "a column twice"
        raise UsageError(f"{source}: its first line holds {odd}; it must be {known}")
    return header


def _drafts(line: _Line, source: Path, place: Place, options: ReadOptions) -> list[Draft]:
    """The clips of one line: one, or one a camera."""
    row = line.cells
    if isinstance(row, _LineError):
        raise row
    if not row.get("video"):
        raise _LineError("names no video")
    dance = _file(source.parent, row["video"])
    audio = _file(source.parent, row["audio"]) if row.get("audio") else dance
    if audio == dance and dance.name.endswith((POSE_SUFFIX, RHYTHM_SUFFIX, KEYPOINTS_SUFFIX)):
        raise _LineError("poses and rhythms have no sound of their own; name the audio")
    views = options.views if dance.suffix == KEYPOINTS_SUFFIX else (None,)
    song, split = row.get("song") or audio.stem, _split(row)
    name, genre, start = _stem(dance), _genre(row.get("genre", "")), _start(row.get("start", ""))
    return [
        Draft(
            name if view is None else f"{name} c{view + 1:02}", dance, view, audio, start, song, genre, split, place
        )
        for view in views
    ]  # fmt: skip


def _file(folder: Path, cell: str) -> Path:
    path = folder / cell
    try:
        if path.is_file():
            return path
        there = path.exists()
    except (OSError, ValueError) as error:
        # Too long for the system, or in a folder that may not be looked into.
        reason = error.strerror if isinstance(error, OSError) else error
        raise _LineError(f"names a file that can't be looked for ({reason})", f": {quote(cell)}") from error
    if there:
        raise _LineError("names something that is no file", f": {quote(cell)}")
    if "\\" in cell:
        raise _LineError("there is no such file; write paths with forward slashes", f": {quote(cell)}")
    raise _LineError("there is no such file", f": {quote(cell)} ({path})")


def _stem(dance: Path) -> str:
    for suffix in (POSE_SUFFIX, RHYTHM_SUFFIX):
        if dance.name.endswith(suffix):
            return dance.name.removesuffix(suffix)
    return dance.stem


def _genre(cell: str) -> str | None:
    if not cell:
        return None
    try:
        return genre_code(cell)
    except UsageError as error:
        raise _LineError("unknown genre", f" {quote(cell)}{genre_hint(cell)}") from error


def _start(cell: str) -> float:
    if _DECIMAL_COMMA.fullmatch(cell):
        raise _LineError("start must be written with a decimal point, as 0.5", f": {quote(cell)}")
    try:
        # Python takes digits that are joined by "_" for one number.
        start = float("x" if "_" in cell else cell or 0)
    except ValueError as error:
        raise _LineError("start is not a number of seconds", f": {quote(cell)}") from error
    if not 0.0 <= start <= LONGEST:
        raise _LineError(f"start must be between 0 and {LONGEST:g} seconds", f": {quote(cell)}")
    return start


def _split(row: Mapping[str, str]) -> Split | None:
    if "split" not in row:
        return None
    split = split_word(row["split"])
    if split is None:
        raise _LineError("split is none of train, validation and test", f": {quote(row['split'])}")
    return split


def _check_song(draft: Draft, splits: dict[str, tuple[Split, int]], source: Path, line: int) -> None:
    """A song that is trained on and tested on would make the test worthless."""
    if draft.split is None:
        return
    split, first = splits.setdefault(draft.song, (draft.split, line))
    if split != draft.split:
        raise UsageError(
            f"{source}: line {line} puts the song {draft.song!r} into {draft.split}, and line {first} into {split}; "
            "a song belongs to one split"
        )


def _named(drafts: list[Draft]) -> tuple[Draft, ...]:
    """Names made different by the line where two would be the same."""
    while True:
        counts = Counter(draft.name for draft in drafts)
        if len(counts) == len(drafts):
            return tuple(drafts)
        # Again, where a file was already named like that.
        drafts = [
            replace(draft, name=f"{draft.name} line {draft.place.line}") if counts[draft.name] > 1 else draft
            for draft in drafts
        ]
