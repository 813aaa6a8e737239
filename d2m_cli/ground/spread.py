"""Work spread over threads, with results in order and little in hand at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def spread(threads: Executor, do: Callable[[A], B], jobs: Iterable[A], most: int) -> Iterator[B]:
    """What `do` makes of each job, in the order of the jobs.

    Parameters
    ----------
    threads
        Where `do` is called.
    jobs
        Taken, in the calling thread, only as far as there is room.
    most
        Jobs that are taken and whose results are not.
    """
    if most < 1:
        raise ValueError(f"at least 1 job is in hand, not {most}")
    waiting: deque[Future[B]] = deque()
    try:
        for job in jobs:
            waiting.append(threads.submit(do, job))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
