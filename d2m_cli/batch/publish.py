"""All results of one file come to their places together."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from d2m_cli.ground.files import atomic_path, flush, flush_folder, output_error
from d2m_cli.ground.stamp import Stamp, settle


def refuse_folders(artefacts: Mapping[str, Path]) -> None:
    """Raise ResultError where a folder stands in the place of a result."""
    for path in artefacts.values():
        if path.is_dir():
            raise output_error(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)))


def publish(staged: Mapping[str, Path], artefacts: Mapping[str, Path]) -> None:
    """Move finished files to their places; no time passes in between but that of the moves.

    Parameters
    ----------
    staged, artefacts
        Suffix to where a file was made, and to where it belongs.

    Raises
    ------
    OutputError
        A file can't be put there.
    FileNotFoundError
        A file was not made.
    """
    for path in staged.values():
        flush(path)
    for suffix, path in staged.items():
        target = artefacts[suffix]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(path, target)
        except OSError as error:
            raise output_error(target, error) from error
    for folder in {target.parent for target in artefacts.values()}:
        flush_folder(folder)


def stamp_of(path: Path) -> Stamp:
    """A stamp of a result that was just moved to its place; it vouches where the file system's clock is fine."""
    settle(path)
    return Stamp.of(path)


def _move(path: Path, target: Path) -> None:
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A folder below the results may be a link to another disk.
        with atomic_path(target) as part:
            shutil.copyfile(path, part)
