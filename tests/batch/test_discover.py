from __future__ import annotations

import os
from pathlib import Path

import pytest

from d2m_cli.batch.discover import find_files, find_videos
from d2m_cli.batch.ledger import LEDGER_NAME
from d2m_cli.errors import UsageError

SUFFIXES = frozenset({".mp4", ".avi"})


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def stems(*inputs: Path) -> list[str]:
    return [item.stem.as_posix() for item in find_files(inputs, SUFFIXES)]


def test_folders_are_searched_all_the_way_down_and_mirrored(tmp_path: Path) -> None:
    put(tmp_path / "b.mp4", tmp_path / "deep" / "er" / "a.MP4", tmp_path / "c.AVI", tmp_path / "notes.txt")
    found = find_files([tmp_path], SUFFIXES)
    assert [(item.path, item.stem) for item in found] == [
        (tmp_path / "b.mp4", Path("b")),
        (tmp_path / "c.AVI", Path("c")),
        (tmp_path / "deep" / "er" / "a.MP4", Path("deep/er/a")),
    ]


def test_odd_names(tmp_path: Path) -> None:
    names = ["-v.mp4", "a b\tc.mp4", "a.b.c.mp4", "[red]x[/red].mp4", "né☃.mp4", "new\nline.mp4", "%s.mp4", "'\".mp4"]
    put(*(tmp_path / name for name in names))
    (tmp_path / os.fsdecode(b"\xff\xfe.mp4")).write_bytes(b"x")
    found = stems(tmp_path)
    assert set(found) == {name.removesuffix(".mp4") for name in names} | {os.fsdecode(b"\xff\xfe")}
    assert found == sorted(found, key=lambda stem: stem + ".mp4")


def test_a_file_named_outright_may_have_any_suffix(tmp_path: Path) -> None:
    put(tmp_path / "clip.mxf", tmp_path / ".hidden.mp4")
    assert stems(tmp_path / "clip.mxf", tmp_path / ".hidden.mp4") == ["clip", ".hidden"]


def test_hidden_files_and_folders_of_results_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4", tmp_path / "._a.mp4", tmp_path / ".cache" / "b.mp4", tmp_path / "out" / "a.mp4")
    (tmp_path / "out" / LEDGER_NAME).touch()
    assert stems(tmp_path) == ["a"]
    assert stems(tmp_path / "out") == ["a"]


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    assert stems(tmp_path) == ["a/x"]


def test_a_file_reached_twice_is_one(tmp_path: Path) -> None:
    put(tmp_path / "x.mp4")
    (tmp_path / "y.mp4").symlink_to(tmp_path / "x.mp4")
    assert stems(tmp_path, tmp_path / "x.mp4") == ["x"]


def test_collisions_are_kept_apart(tmp_path: Path) -> None:
    put(tmp_path / "clip.mp4", tmp_path / "clip.avi", tmp_path / "other.mp4")
    assert stems(tmp_path) == ["clip.avi", "clip.mp4", "other"]
    put(tmp_path / "p" / "one.mp4", tmp_path / "q" / "one.mp4")
    assert stems(tmp_path / "p" / "one.mp4", tmp_path / "q" / "one.mp4") == ["p/one.mp4", "q/one.mp4"]
    put(tmp_path / "r" / "s" / "one.mp4", tmp_path / "t" / "s" / "one.mp4", tmp_path / "t" / "s" / "ONE.mp4")
    same = stems(tmp_path / "r" / "s" / "one.mp4", tmp_path / "t" / "s" / "one.mp4", tmp_path / "t" / "s" / "ONE.mp4")
    assert len({stem.casefold() for stem in same}) == 3


def test_what_can_not_be_searched_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty holds no file ending in \.avi, \.mp4"):
        find_files([tmp_path / "empty"], SUFFIXES)
    with pytest.raises(UsageError, match=r"none\.mp4: no such file"):
        find_files([tmp_path / "none.mp4"], SUFFIXES)
    (tmp_path / "dead.mp4").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="leads nowhere"):
        find_files([tmp_path / "dead.mp4"], SUFFIXES)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        find_files([tmp_path / "pipe.mp4"], SUFFIXES)
    with pytest.raises(UsageError, match="no input"):
        find_videos([])
