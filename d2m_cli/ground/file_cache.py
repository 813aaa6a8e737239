"""A folder of files that could be made again: each under a key that says all it hangs on, the whole bounded in size."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from d2m_cli.errors import InputError, OutputError, UsageError
from d2m_cli.ground.files import PART_MARK
from d2m_cli.ground.options import option
from d2m_cli.ground.user_cache import user_cache

LIMIT = 4_000_000_000
"""Bytes that a cache may take where the user says nothing else: tens of thousands of short dances."""
LIMIT_VARIABLE = "D2M_CACHE_GB"
"""Environment variable that says otherwise, in units of 1e9 bytes."""

_KEPT = 0.9
"""Part of the limit that a clearing leaves, so that the next one is not due at once."""
_BETWEEN = 0.02
"""Part of the limit that may be written between two looks at the whole folder, which take time."""
_ENTRY = re.compile(r"[0-9a-f]{32}\.[a-z.]+")

T = TypeVar("T")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class CacheUse:
    """What a cache holds.

    Attributes
    ----------
    entries
        How many files.
    size
        Bytes that they take.
    """

    entries: int
    size: int


class FileCache:
    """Files by key. Several processes may use one folder: files appear whole or not at all, and may go at any time.

    Nothing that is wrong with the folder stops the work. Where it can't be written to that is told once.

    Parameters
    ----------
    folder
        Where the files lie, in sub-folders by the first two digits of their keys; made when the first is kept.
    limit
        Bytes that it may take. Beyond that, those go that were not used for longest.
    tell
        Told what is wrong with the folder; a warning of Python's without.
    """

    def __init__(self, folder: Path, limit: int = LIMIT, tell: Tell | None = None) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.tell: Tell = tell or _warn
        self._writable = True
        self._unlooked = math.inf

    def place(self, key: str, suffix: str) -> Path:
        """Where the file of a key lies, or would.

        Parameters
        ----------
        key
            32 hexadecimal digits.
        suffix
            Small letters, with its dot.
        """
        return self.folder / key[:2] / f"{key}{suffix}"

    def find(self, key: str, suffix: str) -> Path | None:
        """The file of a key where there is one, which counts as used now."""
        path = self.place(key, suffix)
        try:
            os.utime(path)
        except PermissionError:  # somebody else's, who lets us read
            return path if os.access(path, os.R_OK) else None
        except OSError:
            # Not there; or on a disk that is mounted for reading alone.
            return path if path.is_file() else None
        return path

    def read(self, key: str, suffix: str, load: Callable[[Path], T]) -> T | None:
        """What the file of a key holds; None where there is none, or a damaged one, which is told.

        Parameters
        ----------
        key, suffix
            As in `place`.
        load
            Reads the file, and raises InputError, with the path in its text, where it is damaged.
        """
        path = self.find(key, suffix)
        if path is None:
            return None
        try:
            # Held open, so that the number of the file that was found is given to no other until it is read.
            with path.open("rb") as found:
                try:
                    return load(path)
                except InputError as error:
                    # Another process may have taken it away, and may have put a new one there since.
                    if os.path.samestat(os.fstat(found.fileno()), path.stat()):
                        self.tell(f"damaged in the cache, and made again: {error}")
        except FileNotFoundError:
            pass  # another process made room meanwhile
        except OSError as error:
            self.tell(f"can't be read from the cache, and made again: {path}: {error.strerror or error}")
        return None

    def keep(self, key: str, suffix: str, write: Callable[[Path], None]) -> None:
        """Have a file written under its key.

        Parameters
        ----------
        key, suffix
            As in `place`.
        write
            Writes the path that it is given whole or not at all, and raises OutputError where it can't.
        """
        if not self._writable:
            return
        path = self.place(key, suffix)
        try:
            write(path)
            self._unlooked += path.stat().st_size
        except (OutputError, OSError) as error:
            if isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError):
                return  # another process made room meanwhile, or cleared the folder
            self._writable = False
            self.tell(f"nothing more is kept in the cache {self.folder} ({error}); the work goes on without it")
            return
        if self._unlooked > _BETWEEN * self.limit:
            self.trim()
            self._unlooked = 0

    def use(self) -> CacheUse:
        """How much lies there."""
        sizes = [size for _, size, _ in self._files()]
        return CacheUse(len(sizes), sum(sizes))

    def trim(self) -> None:
        """Take away what was not used for longest, where the whole is over the limit."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in files:
            if total <= _KEPT * self.limit:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)
                total -= size

    def clear(self) -> CacheUse:
        """Take all of it away, and nothing that others put into the folder; what went.

        Raises
        ------
        OutputError
            A file can't be removed.
        """
        entries = size = 0
        for _, bytes_of, path in list(self._files()):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"can't remove {path}: {error.strerror or error}") from error
            entries, size = entries + 1, size + bytes_of
        for folder in [*self._folders(), self.folder]:
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()
        return CacheUse(entries, size)

    def _folders(self) -> list[Path]:
        return [self.folder / f"{number:02x}" for number in range(256)]

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When each was last used (ns), its size in bytes, and the file; also what killed processes left half made."""
        for folder in self._folders():
            try:
                found = list(os.scandir(folder))
            except OSError:
                continue
            for one in found:
                if not (_ENTRY.fullmatch(one.name) or (one.name.startswith(".") and PART_MARK in one.name)):
                    continue
                with suppress(OSError):
                    listed = one.stat(follow_symlinks=False)
                    yield listed.st_mtime_ns, listed.st_size, Path(one.path)


def is_entry(path: Path) -> bool:
    """Whether a file is named, and lies, as those of a cache do."""
    return _ENTRY.fullmatch(path.name) is not None and path.parent.name == path.name[:2]


def as_cache(cache: str | os.PathLike[str] | FileCache | None) -> FileCache | None:
    """A cache as callers from Python name it: by its folder, or as it is.

    Raises
    ------
    UsageError
        It is a file, or the environment variable `LIMIT_VARIABLE` is no size.
    """
    if cache is None or isinstance(cache, FileCache):
        return cache
    return FileCache(_named(Path(cache)), _limit())


def default_cache(name: str, folder: Path | None = None, tell: Tell | None = None) -> FileCache | None:
    """The cache in a folder, or in the user's own where none is given; None without a home.

    Raises
    ------
    UsageError
        The folder is a file, or the environment variable `LIMIT_VARIABLE` is no size.
    """
    limit = _limit()
    folder = _named(folder) if folder is not None else user_cache(name)
    return FileCache(folder, limit, tell) if folder is not None else None


def _named(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{option('cache')} {folder} is a file, not a folder: name a folder, which need not be there")
    return folder


def _limit() -> int:
    given = os.environ.get(LIMIT_VARIABLE)
    if not given:
        return LIMIT
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = math.nan
    if not 0.0 < gigabytes < 1e9:
        raise UsageError(f"{LIMIT_VARIABLE} must be a size in GB above 0, such as 2.5, not {given[:40]!r}")
    return round(gigabytes * 1e9)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
