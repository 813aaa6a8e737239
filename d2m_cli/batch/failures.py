"""What is said of a file over which work ended with an error."""

from __future__ import annotations

import errno
import os
import traceback
from dataclasses import replace
from pathlib import Path

from d2m_cli.batch.outcome import ElsewhereError, Job, Outcome

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Troubles with a disk that concern every file."""


def bug(outcome: Outcome, error: Exception) -> Outcome:
    """Of a file over which an error came that nobody foresaw."""
    text = f"bug in d2m or a library: {described(error)}"
    return replace(outcome, error=text, bug=True, traceback=_whole(error))


def short(outcome: Outcome, error: Exception) -> Outcome:
    """Of a file over which memory ran out."""
    text = f"memory ran out ({described(error)}): free some; the same command tries this file again"
    return replace(outcome, error=text, traceback=_whole(error))


def _whole(error: Exception) -> str:
    """A traceback as text."""
    return error.traceback if isinstance(error, ElsewhereError) else "".join(traceback.format_exception(error))


def described(error: Exception) -> str:
    """An error that nobody foresaw: what it is, where it came, and what it says."""
    if isinstance(error, ElsewhereError):
        return error.described
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    return f"{said}: {error}" if str(error) else said


def unreadable(outcome: Outcome, job: Job, error: OSError) -> Outcome | None:
    """What is to be said where the input itself vanished or was closed to us meanwhile."""
    if error.filename is None or error.strerror is None or Path(os.fsdecode(error.filename)) != job.path:
        return None
    return replace(outcome, error=f"{job.path} can't be read: {error.strerror}")
