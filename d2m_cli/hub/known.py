"""Weights by their content: hashes of large files, read once and remembered in the user's cache."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.printable import printable
from d2m_cli.ground.stamp import Stamp
from d2m_cli.ground.user_cache import user_cache

_LONG = 500 * 2**20
"""Bytes to be read from which the user is told what takes so long."""


def cache_folder() -> Path | None:
    """Folder of the remembered hashes; None without a home."""
    return user_cache("hashes")


def known_sha256(path: Path, *, verify: bool = False) -> str:
    """SHA-256 of a file's bytes, remembered by path, size and times.

    Where there is no cache folder, or none that can be written to, the file is read each time.

    Parameters
    ----------
    path
        The file.
    verify
        Read it in any case.

    Raises
    ------
    MissingWeightsError
        The file can't be read.
    """
    return known_hashes([path], verify=verify)[0]


def known_hashes(paths: Sequence[Path], *, verify: bool = False) -> list[str]:
    """`known_sha256` of several files; tells on stderr where much has to be read."""
    try:
        known = {path: None if verify else _remembered(path) for path in paths}
        unread = sum(path.stat().st_size for path, sha256 in known.items() if sha256 is None)
        if unread >= _LONG:
            folder = printable(os.path.commonpath([path.parent for path in paths]))
            size = f"{unread / 2**30:.1f} GiB"
            what = f"reading {size} of weights in {folder} for their checksums, which are then remembered"
            print(f"d2m: {what}", file=sys.stderr)
        return [known[path] or _read(path) for path in paths]
    except OSError as error:
        raise MissingWeightsError(f"{error.filename}: can't be read ({error.strerror})") from error


def files_stamp(folder: Path, *, verify: bool = False) -> str:
    """Digest of the names and contents of all files in a folder.

    Raises
    ------
    MissingWeightsError
        A file can't be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    listing = list(zip(names, known_hashes(files, verify=verify), strict=True))
    return blake2b(json.dumps(listing).encode(), digest_size=16).hexdigest()


def _remembered(path: Path) -> str | None:
    place = _place(path)
    if place is None:
        return None
    try:
        note = json.loads(place.read_bytes())
        stamp = Stamp(*map(int, note["stamp"]))
        trusted = note["path"] == _name(path) and stamp.vouches_for(Stamp.of(path))
        return str(note["sha256"]) if trusted else None
    except (OSError, ValueError, KeyError, TypeError):
        # Nothing there, or nothing that d2m wrote: the file itself says what it is.
        return None


def _read(path: Path) -> str:
    before = Stamp.of(path)
    sha256 = file_sha256(path)
    if before.same_file(Stamp.of(path)):
        _remember(path, before, sha256)
    return sha256


def _remember(path: Path, stamp: Stamp, sha256: str) -> None:
    place = _place(path)
    if place is None:
        return
    note = {
        "path": _name(path),
        "stamp": [stamp.size, stamp.modified, stamp.changed, stamp.noted],
        "sha256": sha256,
    }
    part = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(note), encoding="ascii")
        os.replace(part, place)
    except OSError:
        # A cache that can't be written to costs time, nothing else.
        return


def _place(path: Path) -> Path | None:
    folder = cache_folder()
    return folder / f"{blake2b(os.fsencode(_name(path)), digest_size=16).hexdigest()}.json" if folder else None


def _name(path: Path) -> str:
    return str(path.resolve())
