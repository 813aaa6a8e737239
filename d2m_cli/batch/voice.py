"""What is said while a batch goes on: in words on stderr, and as events to whoever listens, such as a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from d2m_cli.ground.event_log import Event, Tell
from d2m_cli.ground.printable import printable

SLOW_SECONDS = 5.0
"""Loading that takes so long is worth a word at its end."""

_listeners: list[Tell] = []


@contextmanager
def listening(listener: Tell) -> Iterator[None]:
    """Have all events told to a listener too, from whichever thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(event: Event) -> None:
    """Tell whoever listens; nothing is printed."""
    for listener in tuple(_listeners):
        listener(event)


def show(text: str) -> None:
    """One line on stderr, where there is one; work does not end because nobody can be told of it."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        # In one piece: of what several threads print, line and line end would come apart.
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()


def say(text: str, event: str = "note", **fields: Any) -> None:
    """One line on stderr, and the same to whoever listens."""
    show(text)
    tell(Event(event, text, fields))


def say_passed_over(path: Path, reason: str) -> None:
    """Say that something is not worked on, with the reason in words that follow its path."""
    say(f"d2m: passed over: {path} {reason}", "passed over", file=path, reason=reason)


@contextmanager
def loading(what: str, size: int, place: Path) -> Iterator[None]:
    """Say what is being loaded, and how long that took where it took long.

    Parameters
    ----------
    what
        Name of the networks.
    size
        Of their files, in bytes.
    place
        Where those lie.
    """
    fields = {"what": what, "bytes": size, "place": place}
    say(f"d2m: loading {what}, {bytes_in_words(size)}, from {place}", "loading", **fields)
    begun = time.monotonic()
    ended = "not loaded"
    try:
        yield
        ended = "loaded"
    finally:
        seconds = time.monotonic() - begun
        slow = f"d2m: {what}: loaded in {seconds:.0f} s" if ended == "loaded" and seconds >= SLOW_SECONDS else ""
        if slow:
            show(slow)
        tell(Event(ended, slow, {**fields, "seconds": round(seconds, 3)}))


def bytes_in_words(size: int) -> str:
    """A size as "2.1 GB" or "63 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 999.5e6 else f"{max(1, round(size / 1e6))} MB"


def size_of(place: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are followed."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)
