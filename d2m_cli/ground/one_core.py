"""Threads in which PyTorch computes on one core each.

Networks so small that their layers take less than a thread takes to wake gain nothing from a second core; it is better
used for something else that is to be computed. And what one thread computes does not hang on how many cores there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, ClassVar, TypeVar

from d2m_cli.ground.background import POLL_SECONDS
from d2m_cli.ground.cores import cores
from d2m_cli.ground.interrupts import interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_WAIT_SECONDS = 0.005
"""Between two looks for a spare core, which is wanted for a quarter of a second or so."""


def on_one_core_each(calls: Sequence[Callable[[], T]], name: str) -> list[T]:
    """What each call returns, computed in threads of their own, as many side by side as there are cores.

    A thread that first computes with PyTorch while this goes on has one thread for good.

    Where one raises an error, or the thread that waits is interrupted, those under way are interrupted.

    Parameters
    ----------
    calls
        Each computes with PyTorch.
    name
        Of the threads.

    Raises
    ------
    BaseException
        The first error of any.
    """
    left, taking, over = iter(enumerate(calls)), threading.Lock(), threading.Event()
    ends: SimpleQueue[tuple[int, T] | BaseException] = SimpleQueue()

    def work() -> None:
        with suppress(KeyboardInterrupt):  # one that comes when it has ended anyway
            try:
                with _one_core():
                    while not over.is_set():
                        with taking:
                            number, call = next(left, (-1, None))
                        if call is None:
                            return
                        ends.put((number, call()))
            except BaseException as error:
                ends.put(error)

    threads = [threading.Thread(target=work, name=name) for _ in range(min(cores(), len(calls)))]
    returned: dict[int, T] = {}
    try:
        for thread in threads:
            thread.start()
        while len(returned) < len(calls):
            # In short waits, between which an interrupt is heard.
            with suppress(Empty):
                end = ends.get(timeout=POLL_SECONDS)
                if isinstance(end, BaseException):
                    raise end
                returned[end[0]] = end[1]
        return [returned[number] for number in range(len(calls))]
    finally:
        over.set()
        if len(returned) < len(calls):
            for thread in threads:
                interrupt(thread)
        for thread in threads:
            if thread.ident is not None:  # an interrupt may come before all are started
                thread.join()


@contextmanager
def spare_core() -> Iterator[None]:
    """Wait for a core that neither threads of `on_one_core_each` nor others within this context use.

    What can wait is computed within it, a little at a time: music is made before the next dance is looked at. A thread
    that has a core already goes on.
    """
    here = threading.current_thread()
    if here in _Narrowed.inside or here in _Narrowed.spare:
        yield
        return
    try:
        # In short waits: a thread that ended unheard tells nobody.
        while not _taken(here):
            time.sleep(_WAIT_SECONDS)
        yield
    finally:
        with _Narrowed.guard:
            _Narrowed.spare.discard(here)


def _taken(here: threading.Thread) -> bool:
    with _Narrowed.guard:
        if _alive(_Narrowed.inside) + _alive(_Narrowed.spare) >= cores():
            return False
        _Narrowed.spare.add(here)
        return True


def torch_threads() -> int:
    """The number of threads that PyTorch has in this process, whoever computes with one just now."""
    found: list[int] = []
    with _Narrowed.guard:
        if _alive(_Narrowed.inside):
            return _Narrowed.width
        # One that is new has the number of the process, whatever the calling thread was given.
        asked = threading.Thread(target=lambda: found.append(_own_threads()), daemon=True)
        asked.start()
        asked.join()
    return found[0]


def _own_threads() -> int:
    import torch

    return int(torch.get_num_threads())


class _Narrowed:
    """Threads within `_one_core` and `spare_core`, and the number of threads that PyTorch has otherwise.

    The lock is one that no interrupt can leave taken between two steps of Python.
    """

    guard = threading.Lock()
    inside: ClassVar[set[threading.Thread]] = set()
    spare: ClassVar[set[threading.Thread]] = set()
    width = 0


@contextmanager
def _one_core() -> Iterator[None]:
    """Let PyTorch compute with one thread in this thread, which is new.

    Its number of threads is the calling thread's for its own loops and the process's for MKL: whoever leaves last gives
    the process its own again.
    """
    import torch

    here = threading.current_thread()
    try:
        with _Narrowed.guard:
            if not _alive(_Narrowed.inside):
                _Narrowed.width = _own_threads()
            _Narrowed.inside.add(here)
            torch.set_num_threads(1)
        yield
    finally:
        with _Narrowed.guard:
            _Narrowed.inside.discard(here)
            if _Narrowed.width and not _alive(_Narrowed.inside):
                torch.set_num_threads(_Narrowed.width)


def _alive(threads: set[threading.Thread]) -> int:
    # One that was interrupted in the middle of leaving is no longer alive.
    return sum(thread.is_alive() for thread in threads)
