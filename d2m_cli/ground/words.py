"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, noun: str, nouns: str = "") -> str:
    """A number of things: "1 clip", "2 clips".

    Parameters
    ----------
    number
        How many.
    noun, nouns
        What one is called, and several where that is more than an "s".
    """
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def listed(words: Sequence[str]) -> str:
    """Words in a row: "a", "a and b", "a, b and c"."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
