"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from pathlib import Path

from d2m_cli.errors import OutputError, ResultError
from d2m_cli.ground.options import option

PART_MARK = ".d2m-part-"
_LONGEST_SUFFIX = 32

_numbers = count(1)
_in_work: set[str] = set()
"""Names of the temporary files of this process that are being written."""

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or choose another folder with {out}",
    errno.EDQUOT: "your disk quota is used up: free some space, or choose another folder with {out}",
    errno.EFBIG: "the file grows past the largest size allowed here (see 'ulimit -f')",
    errno.EACCES: "no permission to write there: choose another folder with {out}",
    errno.EPERM: "no permission to write there: choose another folder with {out}",
    errno.EROFS: "the file system is read-only: choose another folder with {out}",
    errno.ENOTDIR: "a file stands where a folder is needed: move it, or choose another folder with {out}",
    errno.EEXIST: "a file stands where a folder is needed: move it, or choose another folder with {out}",
    errno.EISDIR: "a folder stands where the file belongs: move it, or choose another folder with {out}",
    errno.ENAMETOOLONG: "the name is too long for this file system: rename the video",
    errno.EIO: "the disk reports an error: choose another folder with {out}",
}


_ONE_FILE = {
    errno.EFBIG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
"""Troubles that another file need not have."""


def output_error(path: Path, error: OSError, *, whole: bool = False) -> OutputError:
    """The `OutputError` that says why `path` can't be written and what to do about it.

    Parameters
    ----------
    path
        The file or folder.
    error
        What the system said.
    whole
        Nothing at all can be written without `path`: no `ResultError`, which concerns one result alone.
    """
    known = _ADVICE.get(error.errno or 0)
    # Not `format` of what the system says: it may hold braces.
    advice = known.format(out=option("out")) if known else error.strerror or str(error)
    kind = ResultError if error.errno in _ONE_FILE and not whole else OutputError
    return kind(f"can't write {path}: {advice}")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and move it onto `target` once it is complete.

    The temporary file lies in the folder of `target` (so that the move is one step), has the same suffix (so that
    writers that go by it work) and a hidden name. It is flushed to the disk before the move, and removed where the body
    raises. What a killed process left for the same target is removed on the way. Several processes, and threads of one,
    may make the same target at once: each writes a file of its own, and the last to be complete stays.

    Parameters
    ----------
    target
        The file to make; its folder is made where missing, an older file is replaced.

    Raises
    ------
    OutputError
        Full disk, no permission, a file in the way: names `target` and what to do. It is a `ResultError` where other
        files need not have the same trouble.
    """
    target = Path(target)
    part = _part_path(target)
    _in_work.add(part.name)
    try:
        with _placing(target, part):
            yield part
    finally:
        _in_work.discard(part.name)
    flush_folder(target.parent)


@contextmanager
def _placing(target: Path, part: Path) -> Iterator[None]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        _remove_leftovers(target)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = part.stat().st_mode
    except OSError as error:
        raise output_error(target, error) from error
    try:
        yield
        # A writer that replaces the file may leave it readable for its owner alone, as safetensors does.
        os.chmod(part, mode)
        flush(part)
        os.replace(part, target)
    except OSError as error:
        # Only troubles with the file we write are ours to explain; a body may also read other files.
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in (part, target, target.parent):
            raise
        if error.errno not in _ADVICE:
            raise
        raise output_error(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    # Names may hold 255 bytes. The digest keeps targets apart whose names begin alike.
    stem = os.fsencode(target.stem)[:60].decode(errors="ignore")
    own = blake2b(os.fsencode(target.name), digest_size=4).hexdigest()
    return f".{stem}-{own}{PART_MARK}{socket.gethostname()[:60]}-"


def _suffix(target: Path) -> str:
    # What follows the last dot of a long name need not be a suffix.
    return target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""


def _part_path(target: Path) -> Path:
    return target.with_name(f"{_prefix(target)}{os.getpid()}-{next(_numbers)}{_suffix(target)}")


def _remove_leftovers(target: Path) -> None:
    prefix, suffix = _prefix(target), _suffix(target)
    for entry in os.scandir(target.parent):
        if entry.name.startswith(prefix) and entry.name.endswith(suffix):
            number = entry.name[len(prefix) : len(entry.name) - len(suffix)].partition("-")[0]
            # One that was killed may have had the number that this process has now.
            ours = number == str(os.getpid())
            if number.isdigit() and (entry.name not in _in_work if ours else not _alive(int(number))):
                Path(entry.path).unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def flush(path: Path) -> None:
    """Make a file's content durable."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable, where its file system can do that; the files are whole either way."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
