"""Files of a folder by their path without suffix: what clips are named by."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.generation.artefacts import RECORD, is_take


def by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """All files below a folder with one of the suffixes, hidden ones left out, by path without suffix.

    Symbolic links are followed, into each folder once; one that leads nowhere is listed like any file, so that whoever
    opens it can say so. Of results of d2m, which have a record beside them, the .wav goes before other sound and the
    .mp4 before the .mkv, and the pieces that it kept of each take are left out.

    Raises
    ------
    UsageError
        There is no such folder, one can't be looked into, or two files differ by their suffix alone.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder; check the spelling'}")
    found: dict[str, Path] = {}
    for path in sorted(_below(folder, suffixes)):
        if is_take(path) and _record(path.with_suffix("")).is_file():
            continue
        stem = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
        # Those of d2m are the same music, and what goes before comes last in the alphabet.
        if stem in found and not _record(path).is_file():
            raise UsageError(f"{found[stem]} and {path} have the same name but for the suffix; move one of them away")
        found[stem] = path
    return found


def _record(path: Path) -> Path:
    return path.with_suffix(RECORD)


def _below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UsageError(f"can't look into the folder {error.filename}: {error.strerror}") from error

    seen: set[Path] = set()
    for here, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = Path(here).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(here) / name
            if not name.startswith(".") and path.suffix.lower() in suffixes and (path.is_file() or path.is_symlink()):
                yield path
