"""A value that another thread makes, while this one does what needs it not yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from d2m_cli.ground.interrupts import interrupt

T = TypeVar("T")

POLL_SECONDS = 0.1
"""Between two steps of a thread that waits, so that it can be interrupted."""


class Background(Generic[T]):
    """One value for any number of threads, made by a thread of its own from when it is first asked for.

    As a context manager it waits for that thread to end; where an interrupt leaves it, the thread is interrupted too.

    Parameters
    ----------
    make
        Makes the value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._begun = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="d2m-loading")

    def __enter__(self) -> Background[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        # Else it goes on: what breaks off in the middle of an import can't be imported again.
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.stop()
        if self._thread.ident is not None:  # an interrupt may come before it is started
            self._thread.join()

    def stop(self) -> None:
        """Interrupt the thread that makes the value."""
        if self._begun.locked():
            interrupt(self._thread)

    def begin(self) -> None:
        """Begin to make the value, where that has not begun."""
        if self._begun.acquire(blocking=False):
            try:
                self._thread.start()
            except BaseException as error:
                # Others would wait for ever for what nobody makes.
                self._error = error
                self._over.set()
                raise

    def check(self) -> None:
        """Raise the error that making the value ended with, if it did."""
        if self._error is not None:
            raise self._error

    def value(self) -> T:
        """The value, once it is made; or the error that making it ended with."""
        self.begin()
        while not self._over.wait(POLL_SECONDS):
            pass
        self.check()
        return self._made[0]

    def _run(self) -> None:
        try:
            self._made.append(self._make())
        except BaseException as error:
            # It is raised where the value is asked for.
            self._error = error
        finally:
            self._over.set()
