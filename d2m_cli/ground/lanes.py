"""Threads that compute side by side, until one must have all memory for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_WAIT_SECONDS = 0.005


@dataclass(eq=False)
class Stay:
    """One thread's time within `Lanes.inside`.

    Attributes
    ----------
    size
        How much it computes at once.
    alone
        Whether nobody else may come while it lasts.
    beside
        The largest size of those that computed for some of the time too; 0 where there were none.
    """

    size: int
    alone: bool = False
    beside: int = 0


class Lanes:
    """Lets threads compute side by side, or one of them alone.

    Attributes
    ----------
    one_at_a_time
        Whether from now on each is alone; to be set by whoever finds that memory does not suffice for more.
    """

    def __init__(self) -> None:
        self.one_at_a_time = False
        # One that no interrupt can leave taken between two steps of Python; a thread that ended unheard is not alive.
        self._guard = threading.Lock()
        self._inside: dict[threading.Thread, Stay] = {}
        self._waiting: set[threading.Thread] = set()

    @contextmanager
    def inside(self, size: int, *, alone: bool = False) -> Iterator[Stay]:
        """Compute within this context, which a thread may not enter twice; it begins once there is room.

        Parameters
        ----------
        size
            How much is computed at once: 1 or more.
        alone
            Wait until all others have left, and let nobody in meanwhile.
        """
        here, stay = threading.current_thread(), Stay(size)
        try:
            # In short waits, between which an interrupt is heard.
            while not self._entered(here, stay, alone):
                time.sleep(_WAIT_SECONDS)
            yield stay
        finally:
            with self._guard:
                self._inside.pop(here, None)
                self._waiting.discard(here)

    def _entered(self, here: threading.Thread, stay: Stay, alone: bool) -> bool:
        with self._guard:
            stay.alone = alone or self.one_at_a_time
            # What an interrupt left of this thread's last time here is nobody to wait for.
            others = [other for thread, other in self._inside.items() if thread is not here and thread.is_alive()]
            if stay.alone:
                # Those who could go on side by side would else come and go for ever.
                self._waiting.add(here)
                if others:
                    return False
                self._waiting.discard(here)
            elif any(other.alone for other in others) or any(
                thread is not here and thread.is_alive() for thread in self._waiting
            ):
                return False
            for other in others:
                other.beside = max(other.beside, stay.size)
                stay.beside = max(stay.beside, other.size)
            self._inside[here] = stay
            return True
