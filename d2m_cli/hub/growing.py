"""How far a download is, for those who don't see the bars of the library that fetches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from d2m_cli.ground.progress import Progress, is_terminal

LOOK_SECONDS = 2.0


@contextmanager
def telling_growth(progress: Progress, label: str, folder: Path, size: int | None) -> Iterator[None]:
    """Off a terminal, tell how much has come, by what lies in a folder.

    Parameters
    ----------
    progress
        Told a line now and then.
    label
        What is being fetched.
    folder
        Where it comes.
    size
        Bytes that are to come, or None where nobody says.
    """
    if is_terminal():
        yield
        return
    if not size:
        with progress.busy(label):
            yield
        return
    over, before = threading.Event(), _bytes_in(folder)
    with progress.stage(f"{label}, in MB", max(1, round(size / 1e6))) as advance:

        def look() -> None:
            told = 0
            while not over.wait(LOOK_SECONDS):
                come = min(round((_bytes_in(folder) - before) / 1e6), round(size / 1e6))
                # Also where nothing came: a line is due then too.
                advance(max(0, come - told))
                told = max(told, come)

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()


def _bytes_in(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # one that is moved to its place meanwhile
            found += 0 if path.is_symlink() else path.stat().st_size
    return found
