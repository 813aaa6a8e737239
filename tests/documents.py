"""What tests read out of Markdown: pages, fenced blocks, and the lines of ``d2m`` in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_SEPARATORS = {"&&", "||", ";", "|", "&", ">", ">>", "2>", "<"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it begins at, its language ("" where none is said) and what is in it."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """For the names of tests: page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The README, and every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in these languages, "" for those that say none."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"])
        for found in _FENCE.finditer(text)
        if found["language"] in languages
    ]


def outside_blocks(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(text: str, *names: str) -> Iterator[list[str]]:
    """The words of every call of one of these programs in a text for a shell, without the name of the program.

    Of several calls in a line each counts; what leads elsewhere ("> file", "| program") ends a call.
    """
    for line in text.replace("\\\n", " ").splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        reader.whitespace_split, reader.commenters = True, "#"
        call: list[str] | None = None
        for word in [*reader, ";"]:
            if word in _SEPARATORS:
                if call is not None:
                    yield call
                call = None
            elif call is not None:
                call.append(word)
            elif word in names:
                call = []
