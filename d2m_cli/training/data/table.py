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

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import Split
from d2m_cli.ground.genres import genre_code, genre_hint
from d2m_cli.ground.printable import quote
from d2m_cli.ground.tables import LineError, TableLine, table_lines
from d2m_cli.media.timeline import LONGEST
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.training.data.clips import Skip
from d2m_cli.training.data.collate import Draft, Drafts, Place, ReadOptions
from d2m_cli.training.data.durations import KEYPOINTS_SUFFIX
from d2m_cli.training.data.splits import split_word

COLUMNS = ("video", "audio", "genre", "start")
OPTIONAL = ("song", "split")


_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


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
    for line in table_lines(source, COLUMNS, OPTIONAL):
        place = Place(source, line.number, line.text)
        try:
            made = _drafts(line, source, place, options)
        except LineError as error:
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


def _drafts(line: TableLine, source: Path, place: Place, options: ReadOptions) -> list[Draft]:
    """The clips of one line: one, or one a camera."""
    row = line.cells
    if isinstance(row, LineError):
        raise row
    if not row.get("video"):
        raise LineError("names no video")
    dance = _file(source.parent, row["video"])
    audio = _file(source.parent, row["audio"]) if row.get("audio") else dance
    if audio == dance and dance.name.endswith((POSE_SUFFIX, RHYTHM_SUFFIX, KEYPOINTS_SUFFIX)):
        raise LineError("poses and rhythms have no sound of their own; name the audio")
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
        raise LineError(f"names a file that can't be looked for ({reason})", f": {quote(cell)}") from error
    if there:
        raise LineError("names something that is no file", f": {quote(cell)}")
    if "\\" in cell:
        raise LineError("there is no such file; write paths with forward slashes", f": {quote(cell)}")
    raise LineError("there is no such file", f": {quote(cell)} ({path})")


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
        raise LineError("unknown genre", f" {quote(cell)}{genre_hint(cell)}") from error


def _start(cell: str) -> float:
    if _DECIMAL_COMMA.fullmatch(cell):
        raise LineError("start must be written with a decimal point, as 0.5", f": {quote(cell)}")
    try:
        # Python takes digits that are joined by "_" for one number.
        start = float("x" if "_" in cell else cell or 0)
    except ValueError as error:
        raise LineError("start is not a number of seconds", f": {quote(cell)}") from error
    if not 0.0 <= start <= LONGEST:
        raise LineError(f"start must be between 0 and {LONGEST:g} seconds", f": {quote(cell)}")
    return start


def _split(row: Mapping[str, str]) -> Split | None:
    if "split" not in row:
        return None
    split = split_word(row["split"])
    if split is None:
        raise LineError("split is none of train, validation and test", f": {quote(row['split'])}")
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
