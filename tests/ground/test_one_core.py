from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from d2m_cli.ground import one_core
from d2m_cli.ground.cores import cores
from d2m_cli.ground.interrupts import interrupt
from d2m_cli.ground.one_core import on_one_core_each, spare_core, torch_threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """More than one, and hardly what the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def of_mkl() -> int:
    told = re.search(r"mkl_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
    return int(told[1]) if told else torch.get_num_threads()


def elsewhere() -> int:
    """What PyTorch gives a new thread."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_calls_have_one_core_each_and_the_process_its_own_number_afterwards() -> None:
    seen: set[tuple[int, int, str]] = set()

    def call(number: int) -> int:
        seen.add((torch.get_num_threads(), of_mkl(), threading.current_thread().name))
        time.sleep(0.02)
        return number * number

    assert on_one_core_each([lambda n=n: call(n) for n in range(7)], "those") == [n * n for n in range(7)]  # type: ignore[misc]
    assert seen == {(1, 1, "those")}
    assert (torch.get_num_threads(), of_mkl(), elsewhere()) == (3, 3, 3)
    assert on_one_core_each([], "those") == []


def test_as_many_as_there_are_cores_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cores() == 2
    both = threading.Barrier(2)
    # Each waits for the other; a third would break the barrier.
    on_one_core_each([lambda: both.wait(30)] * 6, "those")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert len(set(on_one_core_each([threading.get_ident] * 3, "those"))) == 1


def test_who_leaves_first_does_not_widen_the_others() -> None:
    first_is_through, found = threading.Event(), []

    def long() -> None:
        first_is_through.wait(30)
        found.append((torch.get_num_threads(), of_mkl()))

    other = threading.Thread(target=lambda: on_one_core_each([long], "long"))
    other.start()
    on_one_core_each([lambda: None], "short")
    first_is_through.set()
    other.join()
    assert found == [(1, 1)]
    assert (torch.get_num_threads(), of_mkl(), elsewhere()) == (3, 3, 3)


def test_an_error_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    begun, ended = threading.Event(), threading.Event()

    def endless() -> None:
        begun.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    def broken() -> None:
        begun.wait(30)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        on_one_core_each([endless, broken, endless], "those")
    assert ended.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "those"]
    assert of_mkl() == 3


def test_an_interrupt_of_who_waits_ends_all() -> None:
    begun, raised = threading.Event(), []

    def endless() -> None:
        begun.set()
        while True:
            time.sleep(0.001)

    def wait() -> None:
        try:
            on_one_core_each([endless], "those")
        except KeyboardInterrupt:
            raised.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert begun.wait(30)
    interrupt(waiting)
    waiting.join(30)
    assert raised == [True]
    assert not [thread for thread in threading.enumerate() if thread.name == "those"]
    assert of_mkl() == 3


def test_a_thread_that_ended_unheard_is_not_waited_for() -> None:
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join()
    one_core._Narrowed.inside.add(gone)
    try:
        on_one_core_each([lambda: None], "those")
    finally:
        one_core._Narrowed.inside.discard(gone)
    assert of_mkl() == 3


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_spare_core_is_one_that_nobody_computes_on(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    inside: set[int] = set()
    over = threading.Event()

    def waiting(number: int) -> None:
        while not over.is_set():
            with spare_core():
                inside.add(number)
                time.sleep(0.002)
                inside.remove(number)

    def seen() -> set[int]:
        """How many were inside at once, once those have left that were too many."""
        end = time.monotonic() + 30.0
        while len(inside) != 2 - calls:
            assert time.monotonic() < end
            time.sleep(0.001)
        counts = set()
        for _ in range(50):
            counts.add(len(inside))
            time.sleep(0.001)
        return counts

    others = [threading.Thread(target=waiting, args=[number]) for number in range(4)]
    try:
        for other in others:
            other.start()
        if calls:
            both = threading.Barrier(calls)
            counts = on_one_core_each([lambda: (both.wait(30), seen(), both.wait(30))[1]] * calls, "those")
        else:
            counts = [seen()]
    finally:
        over.set()
        for other in others:
            other.join()
    assert all(max(found) == 2 - calls for found in counts)
    assert not one_core._Narrowed.spare


def test_a_spare_core_comes_free_when_its_thread_ends_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join()
    one_core._Narrowed.spare.add(gone)
    try:
        with spare_core():
            assert threading.current_thread() in one_core._Narrowed.spare
    finally:
        one_core._Narrowed.spare.discard(gone)


def test_who_first_computes_meanwhile_does_not_narrow_the_process() -> None:
    begun, over, found = threading.Event(), threading.Event(), []

    def long() -> None:
        begun.set()
        over.wait(30)

    def late() -> None:
        found.append((torch.get_num_threads(), torch_threads()))
        on_one_core_each([lambda: None], "short")
        over.set()
        other.join()
        on_one_core_each([lambda: None], "short")
        found.append((0, torch_threads()))

    other = threading.Thread(target=lambda: on_one_core_each([long], "long"))
    other.start()
    assert begun.wait(30)
    newcomer = threading.Thread(target=late)
    newcomer.start()
    newcomer.join(30)
    assert found == [(1, 3), (0, 3)]
    assert (torch.get_num_threads(), of_mkl(), elsewhere()) == (3, 3, 3)


def test_an_interrupt_before_all_threads_are_started_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    start, started = threading.Thread.start, []

    def second_fails(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) == 2:
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(KeyboardInterrupt):
        on_one_core_each([lambda: None] * 3, "those")
    assert not [thread for thread in threading.enumerate() if thread.name == "those"]


def test_who_has_a_core_waits_for_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def nested() -> int:
        with spare_core(), spare_core():
            return len(one_core._Narrowed.spare)

    assert nested() == 1
    assert on_one_core_each([nested], "those") == [0]
    assert not one_core._Narrowed.spare
