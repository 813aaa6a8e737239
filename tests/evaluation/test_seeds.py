from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.evaluation.seeds import seed_folders, seed_names


def folders(at: Path, *names: str) -> Path:
    for name in names:
        (at / name).mkdir(parents=True)
    return at


def test_a_pattern_stands_for_folders_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folders(tmp_path, "seed10", "seed2", "seed1", "other")
    (tmp_path / "seed3").touch()
    found = seed_folders(f"{tmp_path}/seed*")
    assert seed_names(found) == ("seed1", "seed2", "seed10")
    assert found == seed_folders(tmp_path / "seed*")


def test_folders_one_by_one_and_patterns_among_them(tmp_path: Path) -> None:
    folders(tmp_path, "1/music", "2/music", "3/music")
    found = seed_folders([tmp_path / "3" / "music", str(tmp_path / "[12]" / "music")])
    assert seed_names(found) == ("3/music", "1/music", "2/music")
    assert seed_folders(tmp_path / "1") == (tmp_path / "1",)
    assert seed_names([tmp_path / "1"]) == ("1",)


def test_a_folder_that_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    folders(tmp_path, "take [1]", "take 1")
    assert seed_folders(tmp_path / "take [1]") == (tmp_path / "take [1]",)


def test_a_pattern_below_a_folder_with_brackets(tmp_path: Path, monkeypatch) -> None:
    folders(tmp_path, "run[1]/seed1/music", "run[1]/seed2/music", "run1/seed3/music", "run[1]/.seed4/music")
    found = seed_folders(tmp_path / "run[1]" / "seed*" / "music")
    assert seed_names(found) == ("seed1/music", "seed2/music")
    assert found[0] == tmp_path / "run[1]" / "seed1" / "music"
    assert len(seed_folders(tmp_path / "run[1]" / "*" / "music")) == 2
    monkeypatch.chdir(tmp_path)
    assert seed_folders("run[1]/seed[2]") == (Path("run[1]/seed2"),)


def test_what_is_none(tmp_path: Path) -> None:
    folders(tmp_path, "seed1")
    with pytest.raises(UsageError, match=r"sead\*: no folder matches"):
        seed_folders(tmp_path / "sead*")
    with pytest.raises(UsageError, match="a system has no folder"):
        seed_folders([])
    (tmp_path / "seed_last").symlink_to(tmp_path / "seed1", target_is_directory=True)
    with pytest.raises(UsageError, match=r"seed1 and .*seed_last are one folder"):
        seed_folders(tmp_path / "seed*")
    # What is not there is said where it is opened.
    assert seed_folders(tmp_path / "gone") == (tmp_path / "gone",)
