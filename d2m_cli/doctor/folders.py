"""Folders that d2m writes to: whether they can be written to, the room on their disks, and what the caches hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from d2m_cli.doctor.check import Check, State
from d2m_cli.ground.file_cache import LIMIT_VARIABLE, default_cache
from d2m_cli.ground.options import option
from d2m_cli.ground.user_cache import user_cache
from d2m_cli.ground.weights_path import data_home

GROUP = "folders"
TRIAL = 1 << 20
"""Bytes that are written for trial."""
LITTLE, SCARCE = 100e6, 2e9
"""Bytes of room below which results can't be written, and below which a large batch can't."""


def look(out: str) -> Iterator[Check]:
    """Look at the folders of results, temporary files, caches and weights.

    Parameters
    ----------
    out
        Folder of results, which need not be there.
    """
    yield folder_check("results", Path(out), f"choose another folder with {option('out')}", needed=True)
    yield folder_check("temporary files", Path(tempfile.gettempdir()), "export TMPDIR=FOLDER", needed=True)
    cache = user_cache("")
    if cache is None:
        yield Check(
            GROUP,
            "cache",
            "warn",
            "there is no home folder, so that poses and rhythms are not kept",
            "export XDG_CACHE_HOME=FOLDER",
        )
    else:
        yield folder_check("cache", cache, "export XDG_CACHE_HOME=FOLDER", needed=False)
        yield caches_check(cache)
    yield folder_check("weights", data_home(), "export D2M_HOME=FOLDER", needed=False)


def folder_check(name: str, folder: Path, remedy: str, *, needed: bool) -> Check:
    """Whether a folder can be written to, and how much room there is.

    Parameters
    ----------
    name
        What lies there.
    folder
        It is made when it is first needed; until then, the one above is looked at.
    remedy
        How another is chosen.
    needed
        Whether nothing can be made without it.
    """
    worst: State = "bad" if needed else "warn"
    there = folder.absolute()
    while not os.path.lexists(there):
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there) as trial:
            trial.write(bytes(TRIAL))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        return Check(GROUP, name, worst, f"{folder}: can't be written to ({error.strerror or error})", remedy)
    free = shutil.disk_usage(there).free
    values = {"path": str(folder), "free": free}
    text = f"{folder}: {free / 1e9:.1f} GB free"
    if free < SCARCE:
        state: State = worst if free < LITTLE else "warn"
        return Check(GROUP, name, state, text, f"free some space, or {remedy}", values)
    return Check(GROUP, name, "ok", text, values=values)


def caches_check(folder: Path) -> Check:
    """What lies in d2m's own caches.

    Raises
    ------
    UsageError
        The limit of the cache is no size, or a file stands in its place.
    """
    dances = default_cache("dances")
    sizes = {one.name: _size(one) for one in sorted(folder.iterdir()) if one.is_dir()} if folder.is_dir() else {}
    words = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items()) or "empty"
    limit = f"; {dances.limit / 1e9:.3g} GB at most ({LIMIT_VARIABLE})" if dances is not None else ""
    return Check(GROUP, "kept", "ok", words + limit, values={"bytes": sizes})


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total
