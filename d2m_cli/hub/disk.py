"""What goes wrong with disks, told with the variable that chooses another one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from d2m_cli.errors import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your disk quota is used up: free some space",
    errno.EFBIG: "the file grows past the largest size allowed here: raise that (ulimit -f)",
    errno.EACCES: "no permission to write there: change that",
    errno.EPERM: "no permission to write there: change that",
    errno.EROFS: "the file system is read-only: mount it for writing",
    errno.ENOTDIR: "a file stands where a folder is needed: move it",
    errno.EEXIST: "a file stands where a folder is needed: move it",
    errno.EISDIR: "a folder stands where the file belongs: move it",
    errno.EIO: "the disk reports an error: look after it",
}


@contextmanager
def telling_disk_errors(folder: Path, variable: str) -> Iterator[None]:
    """Turn errors of the disk into an `OutputError` that says what to do.

    Parameters
    ----------
    folder
        What is written to.
    variable
        Environment variable that chooses another folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        path = os.fsdecode(error.filename) if error.filename else str(folder)
        raise OutputError(
            f"can't write {path}: {_REASONS[error.errno]}, or set {variable} to a folder elsewhere"
        ) from error


def check_room(folder: Path, needed: int, variable: str) -> None:
    """Refuse to begin what can't end.

    Raises
    ------
    OutputError
        The disk of an existing folder has less room than `needed` bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free: free some space, or set "
            f"{variable} to a folder elsewhere"
        )
