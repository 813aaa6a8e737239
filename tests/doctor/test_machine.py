from __future__ import annotations

import os
import socket
from importlib import metadata
from pathlib import Path

import pytest

from d2m_cli import __version__
from d2m_cli.doctor import machine
from d2m_cli.doctor.machine import (
    cpu_quota,
    environment_check,
    memory,
    memory_check,
    memory_limit,
    python_check,
    threads_check,
)


def test_this_machine() -> None:
    found = {check.name: check for check in machine.look()}
    assert found["d2m"].values == {"version": __version__}
    assert found["Python"].state == "ok"
    text = " ".join(check.text for check in found.values())
    assert socket.gethostname() not in text.split()


def test_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "metadata", lambda name: {"Requires-Python": ">=3.11,<3.14"})
    assert python_check((3, 13, 1)).state == "ok"
    old = python_check((3, 9, 18))
    assert old.state == "warn"
    assert old.text.endswith("d2m is made for >=3.11,<3.14")
    assert python_check((3, 14, 0)).state == "warn"


def test_memory() -> None:
    assert memory_check(16_000_000_000, 8_000_000_000).text == "8.0 of 16.0 GB are free"
    little = memory_check(16_000_000_000, 1_000_000_000)
    assert (little.state, little.text) == ("warn", "1.0 of 16.0 GB are free")
    assert memory_check(16_000_000_000, None).state == "ok"
    assert memory_check(None, None).state == "ok"


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="no other way to ask")
def test_memory_is_what_the_system_has() -> None:
    total, available = memory()
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert total is not None
    assert 0 < total <= whole
    assert available is None or 0 <= available <= total


@pytest.mark.parametrize(
    ("limit", "used", "wanted"),
    [("2000000000", "500000000", (2_000_000_000, 500_000_000)), ("max", "5", (None, 0))],
)
def test_memory_of_a_container(tmp_path: Path, limit: str, used: str, wanted: tuple[int | None, int]) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    assert memory_limit(tmp_path) == wanted


def test_memory_of_an_older_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("300000000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("100000000\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    total, available = memory()
    assert total == 300_000_000
    assert available is not None
    assert available <= 200_000_000
    # What is told of no limit: the largest number of pages.
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory_limit(tmp_path) == (None, 100_000_000)


def test_threads_of_a_container(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5


def test_threads() -> None:
    assert threads_check(4, None, None).state == "ok"
    assert threads_check(2, 1.5, None).state == "ok"
    many = threads_check(16, 1.5, None)
    assert (many.state, many.remedy) == ("warn", "export OMP_NUM_THREADS=2")
    assert "may use 1.5" in many.text
    wrong = threads_check(4, None, "four")
    assert (wrong.state, wrong.remedy) == ("warn", "unset OMP_NUM_THREADS")
    assert threads_check(4, None, "4,2").state == "ok"


def test_variables() -> None:
    given = {"D2M_HOME": "/models", "OMP_NUM_THREADS": "4", "D2M_HUB_TOKEN": "abc", "PASSWORD": "x", "HOME": "/h"}
    check = environment_check(given)
    assert check.values == {"D2M_HOME": "/models", "D2M_HUB_TOKEN": "...", "OMP_NUM_THREADS": "4"}
    assert check.text == "D2M_HOME=/models, D2M_HUB_TOKEN=..., OMP_NUM_THREADS=4"
    assert "none" in environment_check({"HOME": "/h"}).text


def test_a_variable_that_nothing_reads_is_told_with_the_one_that_was_meant() -> None:
    known = ("D2M_SEED", "D2M_GENRE", "D2M_SHARD", "D2M_OUT")
    given = {"D2M_SED": "7", "D2M_SEED": "3", "D2M_GENRES": "lock", "D2M_SOMEONE_ELSES": "", "D2MOUT": "", "SEED": "1"}
    check = environment_check(given, known)
    assert check.state == "warn"
    assert check.text.endswith("; D2M_GENRES is read by nothing, D2M_GENRE is, D2M_SED is read by nothing, D2M_SEED is")
    assert check.remedy == "unset D2M_GENRES D2M_SED; if they were meant, set D2M_GENRE D2M_SEED"
    assert environment_check({"D2M_SEED": "3"}, known).state == "ok"
