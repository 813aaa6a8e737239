from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from d2m_cli.ground.background import Background


def test_it_is_made_once_for_all_who_ask() -> None:
    made: list[int] = []

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return 7

    with Background(make) as value, ThreadPoolExecutor(4) as pool:
        value.begin()
        value.check()
        assert list(pool.map(lambda _: value.value(), range(8))) == [7] * 8
    assert made == [1]


def test_its_error_comes_to_all_who_ask() -> None:
    with Background(lambda: 1 // 0) as value:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                value.value()
        with pytest.raises(ZeroDivisionError):
            value.check()


def test_what_was_never_asked_for_is_not_made() -> None:
    with Background(lambda: 1 // 0) as value:
        value.check()


def test_an_interrupt_ends_it_and_another_error_waits_for_it() -> None:
    ended: list[str] = []
    at_it = threading.Event()

    def make() -> None:
        try:
            at_it.set()
            for _ in range(30 if not ended else 6000):
                time.sleep(0.01)
        except KeyboardInterrupt:
            ended.append("interrupted")
            raise
        ended.append("made")

    def leave_by(error: BaseException) -> None:
        with Background(make) as value:
            value.begin()
            assert at_it.wait(60)
            at_it.clear()
            raise error

    for error in (ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            leave_by(error)
    assert ended == ["made", "interrupted"]
    assert not [thread for thread in threading.enumerate() if thread.name == "d2m-loading"]
