from __future__ import annotations

import threading

import pytest

from d2m_cli.ground.turns import Turns


def test_those_who_want_the_same_are_in_together_and_others_wait() -> None:
    turns, log = Turns(), []
    together, second_in = threading.Barrier(2, timeout=30), threading.Event()

    def same() -> None:
        with turns.of("a"):
            together.wait()  # passes only once both are inside
            second_in.set()
            log.append("a")

    def other() -> None:
        with turns.of("b"):
            log.append("b")

    threads = [threading.Thread(target=one) for one in (same, other)]
    with turns.of("a"):
        for thread in threads:
            thread.start()
        together.wait()
        assert second_in.wait(30)
        threads[0].join(30)
        threads[1].join(0.3)
        assert log == ["a"]
    threads[1].join(30)
    assert log == ["a", "b"]


def test_an_error_ends_a_turn() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="within"), turns.of(1):
        raise ValueError("within")
    with turns.of(2):
        pass
