"""Threads in which PyTorch computes on one core each.

Networks so small that their layers take less than a thread takes to wake gain nothing from a second core; it is better
used for something else that is to be computed. And what one thread computes does not hang on how many cores there are.
"""

from __future__ import annotations

import threading
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


def on_one_core_each(calls: Sequence[Callable[[], T]], name: str) -> list[T]:
    """What each call returns, computed in threads of their own, as many side by side as there are cores.

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
    import torch

    width = torch.get_num_threads()
    left, taking, over = iter(enumerate(calls)), threading.Lock(), threading.Event()
    ends: SimpleQueue[tuple[int, T] | BaseException] = SimpleQueue()

    def work() -> None:
        with suppress(KeyboardInterrupt):  # one that comes when it has ended anyway
            try:
                with _one_core(width):
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
            thread.join()


@contextmanager
def spare_core() -> Iterator[None]:
    """Wait for a core that neither threads of `on_one_core_each` nor others within this context use.

    What can wait is computed within it, a little at a time: music is made before the next dance is looked at.
    """
    here = threading.current_thread()
    try:
        with _Narrowed.changed:
            # In short waits, for a thread that ended unheard tells nobody.
            while _alive(_Narrowed.inside) + _alive(_Narrowed.spare) >= cores():
                _Narrowed.changed.wait(POLL_SECONDS)
            _Narrowed.spare.add(here)
        yield
    finally:
        with _Narrowed.changed:
            _Narrowed.spare.discard(here)
            _Narrowed.changed.notify()


class _Narrowed:
    """Threads within `_one_core` and `spare_core`, and the number of threads that PyTorch has otherwise."""

    changed = threading.Condition()
    inside: ClassVar[set[threading.Thread]] = set()
    spare: ClassVar[set[threading.Thread]] = set()
    width = 0


@contextmanager
def _one_core(width: int) -> Iterator[None]:
    """Let PyTorch compute with one thread in this thread.

    Its number of threads is the calling thread's for its own loops and the process's for MKL: whoever leaves last gives
    the process its own again.
    """
    import torch

    here = threading.current_thread()
    try:
        with _Narrowed.changed:
            if not _alive(_Narrowed.inside):
                _Narrowed.width = width
            _Narrowed.inside.add(here)
            torch.set_num_threads(1)
        yield
    finally:
        with _Narrowed.changed:
            _Narrowed.inside.discard(here)
            if not _alive(_Narrowed.inside):
                torch.set_num_threads(_Narrowed.width)
            _Narrowed.changed.notify_all()


def _alive(threads: set[threading.Thread]) -> int:
    # One that was interrupted in the middle of leaving is no longer alive.
    return sum(thread.is_alive() for thread in threads)
