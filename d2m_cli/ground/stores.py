"""Where results lie: in a folder, or at an address that fsspec can reach.

A result is named by its path in the folder of the ledger in either case; its store says where that is.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import threading
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from d2m_cli.errors import MissingExtraError, OutputError, UsageError
from d2m_cli.ground.files import atomic_path, output_error
from d2m_cli.ground.options import option
from d2m_cli.ground.stamp import Stamp, read_digest, settle

_STRONG = ("ETag", "etag", "generation", "md5Hash", "content_md5")
"""What a listing may have of a file that changes with each writing; the first that there is counts."""
_WEAK = ("mtime", "created", "last_modified", "LastModified", "updated", "ino")
"""Without such, all of these that there are."""
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Stores in which a file appears whole once it is written to the end, and where moving would mean copying."""


class Store(Protocol):
    """Where results lie."""

    def name(self, path: Path) -> str:
        """What a result is called for people."""
        ...

    def stamp(self, path: Path) -> Stamp:
        """Of a result that is about to be looked at; OSError where there is none."""
        ...

    def settled(self, path: Path) -> Stamp:
        """Of a result that was just put there."""
        ...

    def digest(self, path: Path) -> tuple[str, Stamp]:
        """`d2m_cli.ground.stamp.read_digest` of a result; OSError where there is none."""
        ...

    def exists(self, path: Path) -> bool:
        """Whether anything lies in the place of a result."""
        ...

    def is_folder(self, path: Path) -> bool:
        """Whether a folder stands in the place of a result."""
        ...

    def remove(self, path: Path) -> None:
        """Take a result away."""
        ...

    def put(self, made: Path, path: Path) -> None:
        """Put a finished file in the place of a result, whole or not at all; OutputError where that can't be."""
        ...


class Folder:
    """Results that lie where their paths say."""

    def name(self, path: Path) -> str:
        return str(path)

    def stamp(self, path: Path) -> Stamp:
        return Stamp.of(path)

    def settled(self, path: Path) -> Stamp:
        settle(path)
        return Stamp.of(path)

    def digest(self, path: Path) -> tuple[str, Stamp]:
        return read_digest(path)

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def remove(self, path: Path) -> None:
        path.unlink()

    def put(self, made: Path, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _move(made, path)
        except OSError as error:
            raise output_error(path, error) from error


class Address:
    """Results at an address such as "s3://bucket/music".

    Stamps hold a token of what the store lists of a file, its ETag for example, in place of times. All that lies there
    is listed once, when the first result is looked at, and each line of that list is good for one look: others may have
    put something there since.

    Parameters
    ----------
    address
        Where the folder's results lie.
    folder
        Of the ledger.
    part
        Name of a folder at the address, in which they lie. "" is the address itself where there are such folders, which
        are then not listed with it; None where there are none.

    Raises
    ------
    UsageError
        fsspec knows no such address.
    MissingExtraError
        It needs a package for it that is not installed.
    """

    def __init__(self, address: str, folder: Path, part: str | None = None) -> None:
        import fsspec

        self.address = address.rstrip("/")
        self._depth = 1 if part == "" else None
        self._folder = folder
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        except ImportError as error:
            raise MissingExtraError(f"{option('store')} {address}: {error}") from error
        except ValueError as error:
            raise UsageError(
                f"{option('store')} {address}: no address that fsspec knows ({error}); one is s3://BUCKET/FOLDER"
            ) from error
        if part:
            # Not by way of the address, in which a name may mean something.
            self.address, self._root = f"{self.address}/{part}", f"{self._root.rstrip('/')}/{part}"
        protocol = self._files.protocol
        self._whole = not _WHOLE.isdisjoint((protocol,) if isinstance(protocol, str) else protocol)
        self._listed: dict[str, tuple[int, int]] | None = None
        self._listing = threading.Lock()

    def name(self, path: Path) -> str:
        return f"{self.address}/{path.relative_to(self._folder).as_posix()}"

    def stamp(self, path: Path) -> Stamp:
        with self._listing:
            if self._listed is None:
                self._listed = self._list()
        where = self._place(path)
        return _stamp(*(self._listed.pop(where, None) or _told(self._files.info(where))))

    def settled(self, path: Path) -> Stamp:
        return _stamp(*_told(self._files.info(self._place(path))))

    def digest(self, path: Path) -> tuple[str, Stamp]:
        where, digest = self._place(path), blake2b(digest_size=16)
        size, token = _told(self._files.info(where))
        with self._files.open(where, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        after = _told(self._files.info(where))
        return digest.hexdigest(), _stamp(*after) if after == (size, token) else Stamp(*after, 0, 0)

    def exists(self, path: Path) -> bool:
        return bool(self._files.exists(self._place(path)))

    def is_folder(self, path: Path) -> bool:
        # In an object store a folder and a file of one name hinder each other not.
        return not self._whole and bool(self._files.isdir(self._place(path)))

    def remove(self, path: Path) -> None:
        self._files.rm_file(self._place(path))

    def put(self, made: Path, path: Path) -> None:
        where = self._place(path)
        part = where if self._whole else f"{where.rpartition('/')[0]}/.d2m-part-{path.name}"
        try:
            if not self._whole:
                self._files.makedirs(where.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(made), part)
            if part != where and glob.has_magic(part):
                # Moving takes it for a pattern.
                self._files.cp_file(part, where)
                self._files.rm_file(part)
            elif part != where:
                self._files.mv(part, where)
        except OSError as error:
            raise OutputError(f"{self.name(path)} can't be written: {error}") from error

    def _place(self, path: Path) -> str:
        return f"{self._root}/{path.relative_to(self._folder).as_posix()}"

    def _list(self) -> dict[str, tuple[int, int]]:
        try:
            found = self._files.find(self._root, maxdepth=self._depth, detail=True)
            return {name: _told(info) for name, info in found.items()}
        except FileNotFoundError:
            return {}


def store_at(address: str | None, folder: Path, part: str | None = None) -> Store:
    """The store of an address, or that of a folder itself where there is none; see `Address`."""
    return Folder() if address is None else Address(address, folder, part)


def _told(info: dict[str, Any]) -> tuple[int, int]:
    """Size of a file, and a token of its content, from what a store tells of it."""
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), info.get("name"))
    strong = [str(info[key]) for key in _STRONG if info.get(key)][:1]
    telling = strong or [f"{key} {_plain(info[key])}" for key in _WEAK if info.get(key)]
    token = int.from_bytes(blake2b("\n".join(telling).encode(), digest_size=7).digest(), "big") if telling else 0
    return int(info["size"]), token


def _plain(value: Any) -> Any:
    # A listing and a look at one file do not always say a time in the same way.
    if isinstance(value, datetime):
        value = value.timestamp()
    return round(value, 3) if isinstance(value, float) else value


def _stamp(size: int, token: int) -> Stamp:
    """One that vouches by its token, if there is one, and not by a time."""
    return Stamp(size, token, 0, 2 * 10**18 if token else 0)


def _move(path: Path, target: Path) -> None:
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A folder below the results may be a link to another disk.
        with atomic_path(target) as part:
            shutil.copyfile(path, part)
