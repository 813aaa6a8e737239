from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from d2m_cli.doctor import folders
from d2m_cli.doctor.folders import caches_check, folder_check
from d2m_cli.errors import UsageError


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    check = folder_check("results", tmp_path / "a" / "b", "elsewhere", needed=True)
    assert check.state in ("ok", "warn")  # warn where the disk is nearly full
    assert check.values["free"] == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**given: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(given["dir"]))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    needed = folder_check("results", tmp_path, "elsewhere", needed=True)
    assert (needed.state, needed.remedy) == ("bad", "elsewhere")
    assert needed.text == f"{tmp_path}: can't be written to (Permission denied)"
    assert folder_check("cache", tmp_path, "elsewhere", needed=False).state == "warn"


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    check = folder_check("results", tmp_path / "out", "elsewhere", needed=True)
    assert check.state == "bad"
    assert "can't be written to" in check.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_seen_by_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **given: open("/dev/full", "wb"))  # noqa: SIM115
    check = folder_check("results", tmp_path, "elsewhere", needed=True)
    assert (check.state, check.text) == ("bad", f"{tmp_path}: can't be written to (No space left on device)")


@pytest.mark.parametrize(
    ("free", "needed", "state"),
    [(50e9, True, "ok"), (1e9, True, "warn"), (50e6, True, "bad"), (50e6, False, "warn")],
)
def test_little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, needed: bool, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert folder_check("results", tmp_path, "elsewhere", needed=needed).state == state


def test_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "dances" / "ab").mkdir(parents=True)
    (tmp_path / "dances" / "ab" / "x").write_bytes(bytes(3_000_000))
    (tmp_path / "hashes").mkdir()
    check = caches_check(tmp_path)
    assert check.values == {"bytes": {"dances": 3_000_000, "hashes": 0}}
    assert check.text == "dances 3.0 MB, hashes 0.0 MB; 4 GB at most (D2M_CACHE_GB)"
    assert caches_check(tmp_path / "none").text.startswith("empty")


def test_a_limit_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2M_CACHE_GB", "much")
    with pytest.raises(UsageError, match="D2M_CACHE_GB"):
        caches_check(tmp_path)


def test_all_folders_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = [check.name for check in folders.look(str(tmp_path / "out"))]
    assert names == ["results", "temporary files", "cache", "kept", "weights"]
    monkeypatch.setattr(folders, "user_cache", lambda name: None)
    found = {check.name: check for check in folders.look(str(tmp_path / "out"))}
    assert found["cache"].state == "warn"
