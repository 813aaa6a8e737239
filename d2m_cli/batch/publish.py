"""All results of one file come to their places together."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from d2m_cli.ground.files import flush, flush_folder, output_error
from d2m_cli.ground.stores import Folder, Store


def refuse_folders(artefacts: Mapping[str, Path], store: Store) -> None:
    """Raise ResultError where a folder stands in the place of a result."""
    for path in artefacts.values():
        if store.is_folder(path):
            raise output_error(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)))


def publish(staged: Mapping[str, Path], artefacts: Mapping[str, Path], store: Store) -> None:
    """Move finished files to their places; no time passes in between but that of the moves.

    Parameters
    ----------
    staged, artefacts
        Suffix to where a file was made, and to where it belongs.
    store
        Where results lie.

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
        store.put(path, artefacts[suffix])
    if isinstance(store, Folder):
        for folder in {target.parent for target in artefacts.values()}:
            flush_folder(folder)
