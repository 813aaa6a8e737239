"""Moments and lengths as people write them."""

from __future__ import annotations


def seconds_of(text: str) -> float:
    """Seconds that are written as "90", "90.5", "1:30" or "1:02:03.5".

    Raises
    ------
    ValueError
        They are written otherwise.
    """
    head, *rest = text.strip().split(":")
    fine = len(rest) <= 2 and all(part.isascii() and part.isdigit() for part in (head, *rest)[:-1])
    last = (head, *rest)[-1]
    # Python takes digits joined by "_", "nan" and "1e3" for numbers; people who write times do not.
    fine = fine and last.isascii() and last.count(".") <= 1 and last.replace(".", "").isdigit()
    if not fine or (rest and float(last) >= 60) or (len(rest) == 2 and int(rest[0]) >= 60):
        raise ValueError(f"{text!r} is no time in seconds (12.5) or minutes and seconds (1:30)")
    total = 0.0
    for part in (head, *rest):
        total = 60.0 * total + float(part)
    return total
