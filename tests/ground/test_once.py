from __future__ import annotations

import threading
from functools import partial

import pytest

from d2m_cli.errors import InputError
from d2m_cli.ground.once import Once


def test_who_asks_for_what_is_being_made_waits_for_it() -> None:
    once: Once[int] = Once(2)
    begun, go, made = threading.Event(), threading.Event(), []

    def make() -> int:
        begun.set()
        assert go.wait(10)
        made.append(1)
        return 7

    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(once.value("a", make))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    assert once.value("b", lambda: 8) == 8  # others go on meanwhile
    go.set()
    for thread in threads:
        thread.join(10)
    assert (got, made) == ([7, 7, 7], [1])


def test_the_last_values_and_foreseen_errors_are_kept() -> None:
    once: Once[int] = Once(2)
    asked: list[str] = []

    def make(key: str) -> int:
        asked.append(key)
        if key == "bad":
            raise InputError("is broken")
        if key == "odd":
            raise ValueError("unforeseen")
        return len(asked)

    for key in ("a", "b", "a", "c", "a", "b"):
        once.value(key, partial(make, key))
    assert asked == ["a", "b", "c", "b"]
    for _ in range(2):
        with pytest.raises(InputError, match="is broken"):
            once.value("bad", lambda: make("bad"))
        with pytest.raises(ValueError, match="unforeseen"):
            once.value("odd", lambda: make("odd"))
    assert asked[4:] == ["bad", "odd", "odd"]


def test_an_error_that_may_pass_is_not_kept() -> None:
    once: Once[int] = Once(2, passing=lambda error: "memory" in str(error))
    left = [InputError("no memory"), InputError("no memory"), InputError("broken")]
    asked: list[int] = []

    def make() -> int:
        asked.append(1)
        raise left[len(asked) - 1]

    depths = []
    for text in ("no memory", "no memory", "broken", "broken", "broken"):
        with pytest.raises(InputError, match=text) as told:
            once.value("a", make)
        depths.append(len(told.traceback))
    assert len(asked) == 3
    assert depths[-1] == depths[-2] < depths[-3]  # where it came from, and no more than where it is raised again
