"""What several threads need at about the same time, made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from d2m_cli.errors import D2MError

T = TypeVar("T")


class Once(Generic[T]):
    """The last few values by key; who asks for one that is being made waits for it.

    An error that d2m foresaw is a value too, unless it may pass: it is raised again.

    Parameters
    ----------
    size
        How many values are kept.
    passing
        Whether an error may not come again, so that who asks next tries anew.
    """

    def __init__(self, size: int, passing: Callable[[D2MError], bool] = lambda error: False) -> None:
        self._size = size
        self._passing = passing
        self._kept: OrderedDict[Hashable, _Slot[T]] = OrderedDict()
        self._guard = threading.Lock()

    def value(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made by the first who asks."""
        with self._guard:
            slot = self._kept.setdefault(key, _Slot())
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        with slot.guard:
            if not slot.made and slot.error is None:
                try:
                    slot.made.append(make())
                except D2MError as error:
                    if not self._passing(error):
                        slot.error = error
                    raise
            if slot.error is not None:
                raise slot.error.with_traceback(None)
            return slot.made[0]


class _Slot(Generic[T]):
    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.made: list[T] = []
        self.error: D2MError | None = None
