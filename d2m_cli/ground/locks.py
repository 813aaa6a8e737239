"""Locks that the kernel drops when their process dies, so that none is ever left behind."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from d2m_cli.ground.printable import printable

try:
    import fcntl
except ImportError:  # Windows
    _fcntl = None
else:
    _fcntl = fcntl

_CAN_NOT = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}

_told: set[Path] = set()


def lock(handle: int, path: Path, *, wait: bool, shared: bool = False) -> bool:
    """Lock an open file for this process.

    The file that is locked has a use of its own, so that no further one lies about: hence not `filelock`, which empties
    or removes what it locks in some of its versions. The lock goes with the handle, and with the process however it
    ends. On a network it reaches as far as the file system's locks do.

    Parameters
    ----------
    handle
        The file, open for writing.
    path
        Its path, for the message.
    wait
        Wait for another process to let go.
    shared
        Lock it with any others that do, against those alone who lock it for themselves.

    Returns
    -------
    Whether it is locked now. Where the file system has no locks that is said once on stderr, and the answer is yes.
    """
    if _fcntl is None:
        return _without(path)
    try:
        _fcntl.flock(handle, (_fcntl.LOCK_SH if shared else _fcntl.LOCK_EX) | (0 if wait else _fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _CAN_NOT:
            raise
        return _without(path)
    return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of a file; no if there is none, yes where it can't be told."""
    try:
        # Locks of a network file system need a file that is open for writing; another user's may be for reading alone.
        if not path.is_file():
            return False
        handle = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        # Shared, so that several who ask in the same moment do not take one another for its holder.
        return not lock(handle, path, wait=False, shared=True)
    finally:
        os.close(handle)


def _without(path: Path) -> bool:
    folder = path.parent
    if folder not in _told:
        _told.add(folder)
        print(
            f"d2m: files in {printable(folder)} can't be locked here: let only one d2m at a time write to it",
            file=sys.stderr,
        )
    return True
