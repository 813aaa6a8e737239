"""What a user names to work on: files, folders, patterns, and lists of files that are read from elsewhere."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2m_cli.errors import UsageError

STDIN = "-"
LIST = "@"
COMMENT = "#"


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that is named.

    Attributes
    ----------
    path
        A file or folder, or the pattern.
    where
        The line of the list that names it, to begin an error with; "" where it was named outright.
    is_pattern
        Whether it stands for all files and folders that fit it.
    is_flat
        Whether of a folder only the files are meant that lie in it, if any, and not those in folders below.
    barred
        Real paths of folders that no link below this one leads into: they are searched for themselves.
    """

    path: Path
    where: str = ""
    is_pattern: bool = False
    is_flat: bool = False
    barred: frozenset[Path] = frozenset()


def named_inputs(texts: Sequence[str]) -> list[Input]:
    """What the words of a command line name.

    A word that is the path of something is that. Else "-" is a list of paths on standard input, "@LIST" one in a file,
    and a word with "*", "?" or "[" is a pattern, in which "**" stands for any folders.

    A list has a path on each line, relative to the current folder; or paths are separated by NUL, as ``find -print0``
    writes them. Lines that are empty or begin with "#" say nothing, if no file is called so.

    Raises
    ------
    UsageError
        A list can't be read or names nothing, or standard input is to be read twice.
    """
    found: list[Input] = []
    if texts.count(STDIN) > 1:
        raise UsageError(f"{STDIN} stands for the list on standard input, which can be read once: say it once")
    for text in texts:
        if text == STDIN:
            found += _on_stdin()
        elif os.path.lexists(text):
            found.append(Input(Path(text)))
        elif text.startswith(LIST):
            found += _in_file(text)
        else:
            found.append(Input(Path(text), is_pattern=glob.has_magic(text)))
    return found


def _on_stdin() -> list[Input]:
    if sys.stdin is None:
        raise UsageError(f"{STDIN} stands for a list on standard input, and that is closed")
    return _listed(sys.stdin.buffer.read(), "standard input")


def _in_file(text: str) -> list[Input]:
    source = text.removeprefix(LIST)
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{text}: can't read the list {source!r} ({error.strerror or error}), and no file is called {text}"
        ) from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{source} is UTF-16; save the list as UTF-8")
    return _listed(content.removeprefix(codecs.BOM_UTF8), source)


def _listed(content: bytes, source: str) -> list[Input]:
    found = [Input(Path(text), where) for text, where in _entries(content, source)]
    if not found:
        raise UsageError(f"{source} lists no file: write the path of a file or folder on each line")
    return found


def _entries(content: bytes, source: str) -> Iterator[tuple[str, str]]:
    if b"\0" in content:
        for number, name in enumerate(content.split(b"\0"), 1):
            if name:
                yield os.fsdecode(name), f"{source}, name {number}"
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        text = os.fsdecode(line.removesuffix(b"\r"))
        short = text.strip()
        if not short or (short.startswith(COMMENT) and not os.path.lexists(text)):
            continue
        # A name may begin or end with a space, but more often that was put there by mistake.
        if short != text and not os.path.lexists(text):
            text = short
        yield text, f"{source}, line {number}"
