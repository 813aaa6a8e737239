from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.ledger import LEDGER_NAME, Artefact, Entry, Ledger
from d2m_cli.ground.search import find_files, find_videos, search

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


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4", tmp_path / "._a.mp4", tmp_path / ".cache" / "b.mp4")
    assert stems(tmp_path) == ["a"]


def made(*names: str, place: str) -> Entry:
    return Entry("clip", "c", "s", "done", tuple(Artefact(name, 1, "d") for name in names), place=place)


def test_of_a_folder_of_results_only_what_its_ledger_lists_is_passed_over(tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    put(lib / "c.mp4", lib / "music" / "c.mp4", lib / "music" / "mine.mp4")
    # Results of a run on the whole library, below it; the user's own clip has been put among them.
    Ledger(lib / "music").add(made("c.mp4", place="../c.mp4"))
    assert stems(lib) == ["c", "music/mine"]
    # A ledger of a version that didn't say where the inputs lie: these lay here.
    put(lib / "day1" / "a.mp4", lib / "day1" / "a.pose.npz")
    Ledger(lib / "day1").add(made("a.pose.npz", place=""))
    # One that is empty, and one that was damaged.
    put(lib / "day2" / "b.mp4", lib / "day3" / "d.mp4")
    (lib / "day2" / LEDGER_NAME).touch()
    (lib / "day3" / LEDGER_NAME).write_bytes(b"\0" * 512)
    assert stems(lib) == ["c", "day1/a", "day2/b", "day3/d", "music/mine"]


def test_poses_of_a_folder_are_not_taken_beside_the_videos_that_they_are_of(tmp_path: Path) -> None:
    lib, npz = tmp_path / "lib", frozenset({".npz"})
    put(lib / "c.mp4", lib / "poses" / "c.pose.npz", lib / "poses" / "mine.pose.npz")
    Ledger(lib / "poses").add(made("c.pose.npz", place="../c.mp4"))

    def names(folder: Path) -> list[str]:
        return [item.path.name for item in search([folder], SUFFIXES | npz, made_too=npz).found]

    assert names(lib) == ["c.mp4", "mine.pose.npz"]
    assert names(lib / "poses") == ["c.pose.npz", "mine.pose.npz"]
    (lib / "link").symlink_to(lib / "poses")
    assert names(lib / "link") == ["c.pose.npz", "mine.pose.npz"]


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


def passed_over(folder: Path) -> dict[str, str]:
    return {item.path.relative_to(folder).as_posix(): item.reason for item in search([folder], SUFFIXES).passed_over}


def test_what_is_no_file_is_named_and_stops_nothing(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x.mp4", tmp_path / "z.mp4")
    (tmp_path / "a" / "dead.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "null.mp4").symlink_to("/dev/null")
    (tmp_path / "twice").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may hold 107 bytes
        one.bind("socket.avi")
        os.chdir(here)
        assert passed_over(tmp_path) == {
            "a/dead.mp4": "is a symbolic link that leads nowhere",
            "a/null.mp4": "is a device",
            "a/self": "is a symbolic link that leads in a circle",
            "a/up": "leads back to a folder above it",
            "pipe.mp4": "is a named pipe",
            "socket.avi": "is a socket",
        }
    assert stems(tmp_path) == ["a/x", "z"]
    with pytest.raises(UsageError, match=r"pipe\.mp4 is neither a file nor a folder, but a named pipe"):
        search([tmp_path / "pipe.mp4"], SUFFIXES)
    with pytest.raises(UsageError, match=r"self: a symbolic link that leads in a circle"):
        search([tmp_path / "a" / "self"], SUFFIXES)


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that everyone can look into; meanwhile we are a user who may not look everywhere."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
            for path in Path(name).iterdir():
                path.chmod(0o755)


def test_a_closed_folder_is_named_and_the_rest_goes_on(nobody: Path) -> None:
    put(nobody / "closed" / "x.mp4", nobody / "listed" / "y.mp4", nobody / "z.mp4")
    (nobody / "closed").chmod(0)
    (nobody / "listed").chmod(0o444)
    found = search([nobody], SUFFIXES)
    assert [item.path.name for item in found.found] == ["z.mp4"]
    assert {item.path.relative_to(nobody).as_posix(): item.reason for item in found.passed_over} == {
        "closed": "can't be looked into: Permission denied",
        "listed/y.mp4": "can't be looked at: Permission denied",
    }
    with pytest.raises(UsageError, match="can't look into the folder"):
        search([nobody / "closed"], SUFFIXES)


def test_results_among_the_inputs_are_known(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    put(clips / "a.mov", clips / "a.mp4", clips / "mine.mp4", clips / "sub" / "b.mp4")
    done = Entry("a.mov", "c", "s", "done", (Artefact("a.mp4", 1, "d"), Artefact("sub/b.mp4", 1, "d")), place="a.mov")
    failed = Entry("m.mov", "c", "s", "failed", (Artefact("mine.mp4", -1, ""),), place="m.mov")
    Ledger(clips).add(done)
    Ledger(clips).add(failed)
    both = SUFFIXES | {".mov"}
    # What was only to be made, and lies there now, is somebody else's.
    assert [item.path.name for item in search([clips], both).found] == ["a.mov", "mine.mp4"]
    # The ledger of a folder above knows them too; but what is named outright is taken.
    with pytest.raises(UsageError, match=r"but results of d2m, such as b\.mp4"):
        search([clips / "sub"], both)
    assert stems(clips / "sub" / "b.mp4") == ["b"]
    assert len(search([clips], both, made_too=frozenset({".mp4"})).found) == 4
    # A folder of videos with results beside them is looked into from above, too.
    assert [item.path.name for item in search([tmp_path], both).found] == ["a.mov", "mine.mp4"]


def test_a_ledger_that_can_not_be_read_is_named(nobody: Path) -> None:
    put(nobody / "a.mp4")
    (nobody / LEDGER_NAME).write_bytes(b"")
    (nobody / LEDGER_NAME).chmod(0)
    assert "hides which files beside it are results" in passed_over(nobody)[LEDGER_NAME]
    assert stems(nobody) == ["a"]
