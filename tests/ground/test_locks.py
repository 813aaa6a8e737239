from __future__ import annotations

import os
from pathlib import Path

import pytest

from d2m_cli.ground.locks import is_locked, lock

pytest.importorskip("fcntl", reason="a system without such locks")


def test_a_lock_is_seen_until_it_goes_with_its_handle(tmp_path: Path) -> None:
    path = tmp_path / "card"
    assert not is_locked(path)
    holder = os.open(path, os.O_RDWR | os.O_CREAT)
    assert not is_locked(path)
    assert lock(holder, path, wait=False)
    assert is_locked(path)
    other = os.open(path, os.O_RDWR)
    assert not lock(other, path, wait=False)
    os.close(other)
    os.close(holder)
    assert not is_locked(path)


def test_who_asks_in_the_same_moment_is_not_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = tmp_path / "card", []
    path.touch()
    close = os.close

    def ask_meanwhile(handle: int) -> None:
        # The lock by which the first one asked is still there.
        monkeypatch.setattr(os, "close", close)
        asked.append(is_locked(path))
        close(handle)

    monkeypatch.setattr(os, "close", ask_meanwhile)
    assert not is_locked(path)
    assert asked == [False]
