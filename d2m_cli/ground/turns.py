"""Threads that want different things of which there is room for one."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from d2m_cli.ground.background import POLL_SECONDS


class Turns:
    """Lets those in together who want the same; who wants something else waits until all of them have left."""

    def __init__(self) -> None:
        self._wanted: Hashable = None
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, wanted: Hashable) -> Iterator[None]:
        """Wait for the turn of what is wanted, which lasts as long as this context."""
        with self._changed:
            # In short waits, between which an interrupt is heard.
            while self._inside and self._wanted != wanted:
                self._changed.wait(POLL_SECONDS)
            self._wanted = wanted
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()
