"""A table of dances and their music: UTF-8, separated by commas, paths relative to the table.

========  =============================================================================================
video     video, ``.pose.npz``, ``.rhythm.json``, or AIST++ keypoints ``.pkl``
audio     sound file, or a video with sound; empty: the video's own sound
genre     one of the ten, by code or name; empty: not known
start     seconds in the audio at which the dance begins; empty: 0
song      optional; empty: the audio's name without suffix
split     optional: train, validation (or val) or test; without the column, the hash of the song's name decides
========  =============================================================================================
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.inversion.genres import genre_code
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.training.clips import Skip, Split
from d2m_cli.training.drafts import Draft, Drafts, Place, ReadOptions
from d2m_cli.training.lengths import KEYPOINTS_SUFFIX
from d2m_cli.training.splitting import split_word

COLUMNS = ("video", "audio", "genre", "start")
OPTIONAL = ("song", "split")


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
    for line, row in _rows(source):
        place = Place(source, line)
        try:
            made = _drafts(row, source, place, options)
        except _LineError as error:
            skipped.append(place.skip(error.cause, error.detail))
            continue
        for draft in made:
            first = seen.setdefault((draft.dance, draft.view, draft.audio, draft.audio_start), line)
            if first != line:
                skipped.append(place.skip("repeats another line", f", {first}"))
                continue
            _check_song(draft, splits, source, line)
            drafts.append(draft)
    return Drafts(_named(drafts), tuple(skipped), "manifest")


def _rows(source: Path) -> list[tuple[int, dict[str, str] | None]]:
    """Number and cells of each line that is not empty; None for one of more cells than the first."""
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.read_bytes()[: error.start].count(b"\n") + 1
        raise UsageError(f"{source}: line {line} is not UTF-8; save the table as UTF-8") from error
    except OSError as error:
        raise UsageError(f"can't read {source}: {error.strerror or error}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[str, str] | None]] = []
    header: list[str] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = _checked_header(source, [cell.lower() for cell in cells])
                continue
            fits = len(cells) <= len(header)
            rows.append((reader.line_num, dict(zip_longest(header, cells, fillvalue="")) if fits else None))
    except csv.Error as error:
        raise UsageError(f"{source}: line {reader.line_num} is no line of a table: {error}") from error
    if not header:
        raise UsageError(f"{source} is empty; its first line must be {','.join(COLUMNS)}")
    return rows


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


def _drafts(row: Mapping[str, str] | None, source: Path, place: Place, options: ReadOptions) -> list[Draft]:
    """The clips of one line: one, or one a camera."""
    if row is None:
        raise _LineError("has more cells than the first line; put names with commas in quotes")
    if not row.get("video"):
        raise _LineError("names no video")
    dance = source.parent / row["video"]
    audio = source.parent / row["audio"] if row.get("audio") else dance
    for path in dict.fromkeys((dance, audio)):
        if not path.is_file():
            raise _LineError("there is no such file", f": {path}")
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
        raise _LineError("unknown genre", f" {cell!r}") from error


def _start(cell: str) -> float:
    try:
        start = float(cell or 0)
    except ValueError as error:
        raise _LineError("start is not a number of seconds", f": {cell!r}") from error
    if not (math.isfinite(start) and start >= 0.0):
        raise _LineError("start must be 0 seconds or more", f", not {cell}")
    return start


def _split(row: Mapping[str, str]) -> Split | None:
    if "split" not in row:
        return None
    split = split_word(row["split"])
    if split is None:
        raise _LineError("split is none of train, validation and test", f": {row['split']!r}")
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
    counts = Counter(draft.name for draft in drafts)
    return tuple(
        replace(draft, name=f"{draft.name} line {draft.place.line}") if counts[draft.name] > 1 else draft
        for draft in drafts
    )
