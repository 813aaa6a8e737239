"""Several threads that go through the same numbers, each with one in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from itertools import zip_longest
from queue import SimpleQueue

from d2m_cli.ground.interrupts import interrupt


def in_turn(numbers: Iterable[int], group_of: Callable[[int], Hashable], width: int) -> Iterator[int]:
    """Numbers of things in groups, so that those that are taken one after the other are of different groups.

    Parameters
    ----------
    numbers
        In order; groups come in the order of their first, and so do those of one group.
    group_of
        Tells of each what group it is in. What is done for the first of a group need not be done for the others, who
        would wait for it.
    width
        So many groups take turns, the next once these are through: for so many is kept what is done for a group.
    """
    groups: dict[Hashable, list[int]] = {}
    for number in numbers:
        groups.setdefault(group_of(number), []).append(number)
    ordered = list(groups.values())
    for first in range(0, len(ordered), width):
        for turn in zip_longest(*ordered[first : first + width]):
            yield from (number for number in turn if number is not None)


def side_by_side(numbers: Iterable[int], do: Callable[[int], None], workers: int) -> None:
    """Call a function with each of some numbers, taken in order; returns when all calls have.

    The first error of any ends the others: those that are under way are interrupted, and it is raised here once they
    have ended. An interrupt of this thread does the same.

    Parameters
    ----------
    numbers
        Each is taken when a worker has time for it.
    do
        What is to be done. With one worker, it is done in the thread that calls.
    workers
        So many calls are under way at once.
    """
    if workers == 1:
        for number in numbers:
            do(number)
        return
    left, taking = iter(numbers), threading.Lock()
    over = threading.Event()
    ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        while not over.is_set():
            with taking:
                number = next(left, None)
            if number is None:
                return
            do(number)

    def work_to_an_end() -> None:
        with suppress(KeyboardInterrupt):  # one that comes when it has ended anyway
            try:
                work()
            except BaseException as error:
                ends.put(error)
            else:
                ends.put(None)

    threads = [threading.Thread(target=work_to_an_end, name=f"d2m-{number}") for number in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            if (error := ends.get()) is not None:
                raise error
    finally:
        over.set()
        for thread in threads:
            interrupt(thread)
        for thread in threads:
            if thread.ident is not None:  # an interrupt may come before all are started
                thread.join()
