"""A table of videos and what each is given of its own: UTF-8, separated by commas, files relative to the table.

================  ======================================================================================
video             the file
genre             optional: one of the ten, by code or name, or auto
prompt            optional
negative_prompt   optional
seed              optional: a whole number
start             optional: where the passage begins, in seconds (12.5) or minutes and seconds (1:30)
duration          optional: how long it lasts, written likewise
music             optional: a track for this video in place of a model
================  ======================================================================================

An empty cell leaves what is asked of all. A video may stand on several lines; each is a piece of music. All is checked
before work begins, and the first that is wrong ends it, named with line and column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.generation.options import GenerateOptions, check_seed
from d2m_cli.generation.own import OwnOptions
from d2m_cli.generation.video_genre import AUTO
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.printable import quote
from d2m_cli.ground.seconds import seconds_of
from d2m_cli.ground.tables import LineError, table_lines

COLUMNS = ("video",)
OPTIONAL = ("genre", "prompt", "negative_prompt", "seed", "start", "duration", "music")

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One line of a manifest.

    Attributes
    ----------
    video
        The file, with its place in the table to begin an error with.
    own
        What it is given.
    where
        Table and line, to name the piece by where it fails.
    """

    video: Input
    own: OwnOptions
    where: str = ""


def read_manifest(source: Path, options: GenerateOptions) -> tuple[ManifestLine, ...]:
    """Read a table of videos; lines that repeat another count once.

    Parameters
    ----------
    source
        The .csv file.
    options
        What is asked of all, which the lines have to go together with.

    Raises
    ------
    UsageError
        The table can't be read, has no column "video" or an unknown one, or a value can't be used.
    """
    checked: set[OwnOptions] = set()
    found: dict[tuple[Path, OwnOptions], ManifestLine] = {}
    for line in table_lines(source, COLUMNS, OPTIONAL):
        where = f"{source}: line {line.number}"
        if isinstance(line.cells, LineError):
            raise UsageError(f"{where} {line.cells}")
        path, own = _video(where, source.parent, line.cells["video"]), _own(where, source.parent, line.cells)
        # Whether they go together hangs on none of these, but on whether there are words at all.
        kind = replace(own, prompt=own.prompt and "any", negative_prompt=None, seed=None)
        if kind not in checked:
            try:
                kind.of(options).check_listening()
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from error
            checked.add(kind)
        found.setdefault((path, own), ManifestLine(Input(path, f"{where}, column video"), own, where))
    if not found:
        raise UsageError(f"{source} names no video: write one on each line below the first")
    return tuple(found.values())


def _video(where: str, folder: Path, cell: str) -> Path:
    if not cell:
        raise UsageError(f"{where}, column video: there is none; give the path of the video from the table's folder")
    path = folder / cell
    if path.is_dir():
        raise UsageError(f"{where}, column video: {path} is a folder; name its videos one by one")
    if "\\" in cell and not path.exists():
        raise UsageError(f"{where}, column video: there is no {path}; write paths with forward slashes")
    return path


def _own(where: str, folder: Path, cells: Mapping[str, str]) -> OwnOptions:
    def cell(name: str) -> str | None:
        return cells.get(name) or None

    return OwnOptions(
        genre=_genre(where, cell("genre")),
        prompt=cell("prompt"),
        negative_prompt=cell("negative_prompt"),
        seed=_seed(where, cell("seed")),
        start=_seconds(where, "start", cell("start")),
        duration=_seconds(where, "duration", cell("duration")),
        music=_music(where, folder, cell("music")),
    )


def _genre(where: str, cell: str | None) -> str | None:
    if cell is None or cell.lower() == AUTO:
        return cell and AUTO
    try:
        return genre_code(cell)
    except UsageError as error:
        raise UsageError(f"{where}, column genre: {error}") from error


def _seed(where: str, cell: str | None) -> int | None:
    if cell is None:
        return None
    if not _WHOLE_NUMBER.fullmatch(cell):
        raise UsageError(f"{where}, column seed: {quote(cell)} is not a whole number")
    try:
        check_seed(int(cell))
    except UsageError as error:
        raise UsageError(f"{where}, column seed: {error}") from error
    return int(cell)


def _seconds(where: str, column: str, cell: str | None) -> float | None:
    if cell is None:
        return None
    try:
        return seconds_of(cell)
    except ValueError as error:
        raise UsageError(f"{where}, column {column}: {error}") from error


def _music(where: str, folder: Path, cell: str | None) -> Path | None:
    if cell is None:
        return None
    path = folder / cell
    if not path.is_file():
        raise UsageError(f"{where}, column music: {path}: no such file; check the spelling")
    return path
