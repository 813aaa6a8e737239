"""How many threads compute."""

from __future__ import annotations

import os

import pytest

from d2m_cli.ground.cores import cores


@pytest.mark.parametrize(("told", "expected"), [("3", 3), (" 1 ", 1), ("5,2", 5)])
def test_what_the_variable_says(monkeypatch: pytest.MonkeyPatch, told: str, expected: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert cores() == expected


@pytest.mark.parametrize("told", [None, "", "0", "-2", "many", "²"])
def test_else_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch, told: str | None) -> None:
    if told is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {1, 4, 6}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
