"""From what the user names on the command line to the list of files to work on."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from d2m_cli.batch.ledger import LEDGER_NAME
from d2m_cli.errors import UsageError

VIDEO_SUFFIXES = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
})  # fmt: skip
"""Suffixes, in lower case, that a folder is searched for; a file named outright may have any."""


@dataclass(frozen=True)
class Found:
    """One file to work on.

    Attributes
    ----------
    path
        The file, as reached from the input that held it.
    stem
        Relative path of its results, without a suffix: mirrors where the file lies below its input.
    """

    path: Path
    stem: Path


def find_videos(inputs: Sequence[Path]) -> list[Found]:
    """`find_files` for videos."""
    return find_files(inputs, VIDEO_SUFFIXES)


def find_files(inputs: Sequence[Path], suffixes: frozenset[str]) -> list[Found]:
    """All files that the inputs name, each once, in a steady order.

    Folders are searched all the way down, in sorted order; hidden names and folders that hold results of d2m are passed
    over (unless named outright), and a symbolic link that leads back up is followed once. A file named outright is
    taken whatever its suffix.

    Parameters
    ----------
    inputs
        Files and folders.
    suffixes
        Suffixes to look for in folders, in lower case with their dot.

    Returns
    -------
    The files, their result stems all different (also where letter case is ignored).

    Raises
    ------
    UsageError
        An input does not exist, can't be read or is neither file nor folder; a folder holds no such file; no input.
    """
    if not inputs:
        raise UsageError("no input: name at least one file or folder")
    found: dict[Path, Found] = {}
    for entry in inputs:
        for item in _below(Path(entry), suffixes):
            found.setdefault(item.path.resolve(), item)
    return _keep_apart(list(found.values()))


def _below(entry: Path, suffixes: frozenset[str]) -> list[Found]:
    if entry.is_dir():
        items = [Found(path, path.relative_to(entry).with_suffix("")) for path in _walk(entry, suffixes)]
        if not items:
            raise UsageError(f"the folder {entry} holds no file ending in {', '.join(sorted(suffixes))}")
        return items
    if entry.is_file():
        return [Found(entry, Path(Path(entry.name).stem))]
    if entry.exists():
        raise UsageError(f"{entry} is neither a file nor a folder")
    hint = "a symbolic link that leads nowhere" if entry.is_symlink() else "no such file or folder"
    raise UsageError(f"{entry}: {hint}; check the spelling")


def _walk(root: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    seen: set[Path] = set()

    def visit(folder: Path) -> Iterator[Path]:
        real = folder.resolve()
        if real in seen:
            return
        seen.add(real)
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise UsageError(f"can't look into the folder {folder}: {error.strerror}") from error
        for name in names:
            path = folder / name
            if name.startswith("."):
                continue
            if path.is_dir():
                if not (path / LEDGER_NAME).exists():
                    yield from visit(path)
            elif path.suffix.lower() in suffixes and path.is_file():
                yield path

    return visit(root)


def _keep_apart(items: list[Found]) -> list[Found]:
    """Give different stems to items whose stems would fall together.

    First the suffix of the file is kept ("clip.mp4" and "clip.avi" stay apart), then the folder is put in front, then a
    digest of the full path is added; only items in a collision are touched.
    """

    def with_suffix(item: Found) -> Path:
        return item.stem.with_name(item.path.name)

    def below_folder(item: Found) -> Path:
        return Path(item.path.resolve().parent.name) / item.stem

    def with_digest(item: Found) -> Path:
        return item.stem.with_name(f"{item.stem.name}-{_digest(item.path)}")

    for step in (with_suffix, below_folder, with_digest):
        taken = Counter(_key(item.stem) for item in items)
        items = [Found(item.path, step(item)) if taken[_key(item.stem)] > 1 else item for item in items]
    return items


def _key(stem: Path) -> str:
    return unicodedata.normalize("NFC", str(stem)).casefold()


def _digest(path: Path) -> str:
    return blake2b(os.fsencode(path.resolve()), digest_size=4).hexdigest()
