from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from d2m_cli.batch.naming import LONGEST, keep_apart, place
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.ground.search import find_files, search

SUFFIXES = frozenset({".mp4", ".avi", ".mov"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(out: Path, *inputs: Path) -> dict[str, str]:
    """Name what there is, and note in the ledger that it was done."""
    ledger = Ledger(out)
    items = keep_apart(search(inputs, SUFFIXES).found, (".wav", ".json"), ledger)
    for item in items:
        stem = item.stem.as_posix()
        made = tuple(Artefact(stem + suffix, 1, "d") for suffix in (".wav", ".json"))
        ledger.add(Entry(str(item.path), "c", "s", "done", made, place=place(item.path, out), stem=stem))
    return {item.path.as_posix().removeprefix(f"{out.parent}/"): item.stem.as_posix() for item in items}


def test_a_name_stays_when_others_come_and_go(folder: Path) -> None:
    out = folder.parent / "out"
    put(folder, "clip.mp4")
    assert names(out, folder) == {"in/clip.mp4": "clip"}
    # Comes before it in the order, and later.
    put(folder, "clip.avi")
    assert names(out, folder) == {"in/clip.avi": "clip.avi", "in/clip.mp4": "clip"}
    (folder / "clip.mp4").unlink()
    assert names(out, folder) == {"in/clip.avi": "clip.avi"}
    put(folder, "clip.mov")
    assert names(out, folder) == {"in/clip.avi": "clip.avi", "in/clip.mov": "clip.mov"}
    put(folder, "clip.mp4")
    assert names(out, folder) == {"in/clip.avi": "clip.avi", "in/clip.mov": "clip.mov", "in/clip.mp4": "clip"}


def test_in_one_run_the_first_in_the_order_has_the_short_name(folder: Path) -> None:
    put(folder, "clip.mp4", "clip.avi", "CLIP.mov", "other.mp4")
    assert names(folder.parent / "out", folder) == {
        "in/CLIP.mov": "CLIP",
        "in/clip.avi": "clip.avi",
        "in/clip.mp4": "clip.mp4",
        "in/other.mp4": "other",
    }


def test_files_of_one_name_from_several_folders(folder: Path) -> None:
    out = folder.parent / "out"
    put(folder, "p/one.mp4", "q/one.mp4", "x/q/one.mp4")
    each = [folder / name for name in ("p/one.mp4", "q/one.mp4", "x/q/one.mp4")]
    first = names(out, *each)
    assert first["in/p/one.mp4"] == "one"
    assert first["in/q/one.mp4"] == "q/one"
    assert first["in/x/q/one.mp4"].startswith("one-")
    # Each alone, and in another order.
    for path in reversed(each):
        assert names(out, path).items() <= first.items()
    assert names(out, *reversed(each)) == first


def test_the_view_from_elsewhere_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder.parent / "out"
    put(folder, "clip.mp4")
    names(out, folder)
    put(folder, "clip.avi")
    expected = sorted(names(out, folder).values())
    monkeypatch.chdir(folder)
    assert sorted(names(Path("../out"), Path())) == ["clip.avi", "clip.mp4"]
    assert sorted(names(Path("../out"), Path()).values()) == expected
    # Both folders as another machine sees them, and the inputs moved elsewhere alone.
    moved = folder.parent / "moved"
    shutil.copytree(folder.parent / "in", moved / "in")
    shutil.copytree(out, moved / "out")
    assert sorted(names(moved / "out", moved / "in").values()) == expected
    (moved / "in").rename(moved / "renamed")
    assert names(moved / "out", moved / "renamed") == {"renamed/clip.avi": "clip.avi", "renamed/clip.mp4": "clip"}


def test_ledgers_that_know_no_places(folder: Path) -> None:
    out = folder.parent / "out"
    put(folder, "clip.mp4", "clip.avi")
    Ledger(out).add(Entry("elsewhere/clip.mp4", "c", "s", "done", (Artefact("clip.wav", 1, "d"),)))
    assert names(out, folder) == {"in/clip.avi": "clip.avi", "in/clip.mp4": "clip"}


def test_long_names_are_cut_and_stay_apart(folder: Path) -> None:
    out = folder.parent / "out"
    long = ["n" * 246 + ".mp4", "n" * 245 + "m.mp4", "☃" * 82 + ".mp4"]
    put(folder, *long)
    first = names(out, folder)
    assert len(set(first.values())) == 3
    for name, stem in first.items():
        assert len(stem.encode()) <= LONGEST
        assert stem.startswith(Path(name).name[:70])
        (folder / (stem + ".rhythm.json")).touch()
    assert names(out, folder) == first
    assert names(out, folder / long[1]) == {f"in/{long[1]}": first[f"in/{long[1]}"]}
    # A name that fits with all that d2m puts behind it is left alone.
    put(folder, "k" * LONGEST + ".mp4")
    assert names(out, folder / ("k" * LONGEST + ".mp4")) == {f"in/{'k' * LONGEST}.mp4": "k" * LONGEST}


def test_without_a_ledger_all_are_different_too(folder: Path) -> None:
    put(folder, "clip.mp4", "clip.avi")
    assert len({item.stem for item in find_files([folder], SUFFIXES)}) == 2


def test_no_result_of_one_lies_where_one_of_another_does(folder: Path) -> None:
    put(folder, "a.mp4", "a.take-1.mp4")
    suffixes, out = (".wav", ".take-1.wav", ".take-2.wav"), folder.parent / "out"
    for order in (("a.mp4", "a.take-1.mp4"), ("a.take-1.mp4", "a.mp4")):
        items = search([folder / name for name in order], SUFFIXES).found
        stems = [item.stem.as_posix() for item in keep_apart(items, suffixes, Ledger(out))]
        assert len({stem + suffix for stem in stems for suffix in suffixes}) == 6

    # Also where takes are asked for only after both are there.
    ledger = Ledger(out)
    for stem in ("a", "a.take-1"):
        made = (Artefact(f"{stem}.wav", 1, "d"),)
        ledger.add(Entry("", "c", "s", "done", made, place=place(folder / f"{stem}.mp4", out), stem=stem))
    items = search([folder], SUFFIXES).found
    assert [item.stem.as_posix() for item in keep_apart(items, (".wav",), ledger)] == ["a", "a.take-1"]
    assert [item.stem.as_posix() for item in keep_apart(items, suffixes, ledger)] == ["in/a", "a.take-1"]
