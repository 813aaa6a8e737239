from __future__ import annotations

import os
from pathlib import Path

import pytest

from d2m_cli.ground.real_paths import RealPaths


def test_it_says_what_pathlib_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "a").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "b").symlink_to("deep/a")
    monkeypatch.chdir(tmp_path / "link")
    names = (
        ".",
        "..",
        "deep/a",
        "b",
        "deep/../b",
        "none",
        "none/deeper",
        "deep",
        "deep/..",
        "../link/deep/a",
        "../link",
    )
    real = RealPaths()
    for _ in range(2):
        for path in [*map(Path, names), *(tmp_path / "link" / name for name in names)]:
            assert real.of(path) == str(path.resolve()), path


def test_each_folder_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    really = os.path.realpath

    def spy(path: str) -> str:
        asked.append(path)
        return really(path)

    monkeypatch.setattr(os.path, "realpath", spy)
    real = RealPaths()
    for number in range(100):
        assert real.of(tmp_path / f"{number}") == f"{really(tmp_path)}/{number}"
    assert asked == [str(tmp_path)]
