"""Names as they may be shown: one line, and nothing that steers a terminal."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Invisible too, but parts of words and of emoji."""


def printable(text: object) -> str:
    """Text with control characters, line ends and overrides of the writing direction escaped.

    Parameters
    ----------
    text
        A path, a message, or anything that has a text.

    Returns
    -------
    One line: what would move the cursor, break the line or turn letters around is written as in a Python string
    ("\\\\n", "\\\\x1b", "\\\\u202e"). All else, spaces and backslashes among it, stays as it is.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_escaped(letter) if _steers(letter) else letter for letter in text)


def quote(text: str, most: int = 100) -> str:
    """Text between quotes, its unprintable signs written out, cut where it is long."""
    shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text[:most])
    return f"'{shown}{'...' if len(text) > most else ''}'"


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in _JOINERS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
