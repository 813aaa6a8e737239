"""Several seeds of one system: folders with the same clips, which it made with different random seeds."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2m_cli.errors import UsageError


@dataclass(frozen=True)
class Seed:
    """What a system made with one random seed.

    Attributes
    ----------
    name
        Path of its folder, as far as it differs from those of the other seeds.
    files
        File of each clip.
    """

    name: str
    files: Mapping[str, Path]


def seed_folders(given: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """Folders of the seeds of one system.

    Parameters
    ----------
    given
        A folder; or a pattern, such as "OUT/seed*", which stands for all folders that match it; or several of both.

    Returns
    -------
    In the order given, those of a pattern by name, numbers as numbers. A folder whose name looks like a pattern is
    itself.

    Raises
    ------
    UsageError
        No folder matches a pattern, a folder is there twice, or there is none at all.
    """
    each = [given] if isinstance(given, str | Path) else given
    folders = tuple(folder for one in each for folder in _matching(Path(one)))
    if not folders:
        raise UsageError("a system has no folder: give one, or one for each of its seeds")
    seen: dict[Path, Path] = {}
    for folder in folders:
        twin = seen.setdefault(folder.resolve(), folder)
        if twin is not folder:
            raise UsageError(
                f"{twin} and {folder} are one folder, which would count as two seeds; leave one of them out"
            )
    return folders


def seed_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Names that tell the folders of one system apart."""
    whole = [folder.absolute() for folder in folders]
    if len(whole) == 1:
        return (whole[0].name,)
    above = os.path.commonpath(whole)
    return tuple(Path(os.path.relpath(folder, above)).as_posix() for folder in whole)


def _matching(path: Path) -> list[Path]:
    if path.exists() or not any(sign in str(path) for sign in "*?["):
        return [path]
    found = [one for one in _folders(path) if one.is_dir()]
    if not found:
        raise UsageError(f"{path}: no folder matches; each folder that does is one seed of the system")
    return sorted(found, key=_numbers)


def _folders(pattern: Path) -> list[Path]:
    """What matches a pattern part by part, where a part that is there as it is written stands for itself."""
    found = [Path(pattern.anchor)]
    for part in pattern.parts[1 if pattern.anchor else 0 :]:
        found = [
            folder / name
            for folder in found
            for name in ([part] if (folder / part).exists() else glob.glob(part, root_dir=folder))
        ]
    return found


def _numbers(path: Path) -> list[tuple[bool, int, str]]:
    """Key by which seed2 comes before seed10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", str(path))]
