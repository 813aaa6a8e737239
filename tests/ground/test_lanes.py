"""Threads side by side, and one alone."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

import d2m_cli.ground.lanes as lanes_module
from d2m_cli.ground.lanes import Lanes


def never(seconds: float) -> None:
    raise AssertionError("it waits for itself")


class Guard:
    """A lock at which an interrupt is heard in place of being given it, so many times from now."""

    def __init__(self) -> None:
        self.lock, self.left = threading.Lock(), -1

    def __enter__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()


@pytest.mark.parametrize("alone", [False, True])
def test_a_thread_does_not_wait_for_what_an_interrupt_left_of_it(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    lanes, guard = Lanes(), Guard()
    monkeypatch.setattr(lanes, "_guard", guard)

    monkeypatch.setattr(lanes_module, "time", SimpleNamespace(sleep=never))
    guard.left = 2
    # Once to come in, and once to leave.
    with pytest.raises(KeyboardInterrupt), lanes.inside(3, alone=True):
        pass
    with lanes.inside(2, alone=alone) as stay:
        assert (stay.size, stay.alone, stay.beside) == (2, alone, 0)
    # What was left is gone with it.
    assert not lanes._inside


def test_a_thread_that_gave_up_waiting_may_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes, guard, within, over = Lanes(), Guard(), threading.Event(), threading.Event()
    monkeypatch.setattr(lanes, "_guard", guard)

    def stay() -> None:
        with lanes.inside(3):
            within.set()
            over.wait(60)

    other = threading.Thread(target=stay)
    other.start()
    try:
        assert within.wait(60)

        def interrupted(seconds: float) -> None:
            guard.left = 1
            raise KeyboardInterrupt

        monkeypatch.setattr(lanes_module, "time", SimpleNamespace(sleep=interrupted))
        with pytest.raises(KeyboardInterrupt), lanes.inside(2, alone=True):
            pass
        monkeypatch.setattr(lanes_module, "time", SimpleNamespace(sleep=never))
        with lanes.inside(2) as mine:
            assert (mine.alone, mine.beside) == (False, 3)
    finally:
        over.set()
        other.join()
