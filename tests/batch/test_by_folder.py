"""Collections folder by folder; the work copies files."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from d2m_cli.batch import by_folder
from d2m_cli.batch.by_folder import run_by_folder
from d2m_cli.batch.options import PLAIN, BatchOptions, Shard
from d2m_cli.batch.outcome import Outcome
from d2m_cli.batch.runner import BatchSummary, run_batch
from d2m_cli.errors import NothingFoundError, UsageError
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.ledger_entries import Entry
from d2m_cli.ground.search import Found, search
from tests.batch.copier import Copier


class Runs:
    """Runs that copy, and what they were asked."""

    def __init__(self) -> None:
        self.work = Copier()
        self.asked: list[tuple[Path, BatchOptions]] = []
        self.done: list[BatchSummary] = []

    def __call__(self, inputs: Sequence[Input], out: Path, options: BatchOptions) -> BatchSummary:
        self.asked.append((out, options))
        found = search(inputs, frozenset({".mp4"}))
        self.done.append(
            run_batch(
                found.found,
                self.work,
                settings={},
                artefacts=(".wav",),
                out_dir=out,
                options=options,
                passed_over=found.passed_over,
                label="copy",
            )
        )
        return self.done[-1]


@pytest.fixture
def runs() -> Runs:
    return Runs()


def files(folder: Path, names: dict[str, bytes]) -> Path:
    for name, content in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def made(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.wav"))


def go(runs: Runs, collection: Path | Sequence[Path], out: Path, **options: object) -> int:
    folders = [collection] if isinstance(collection, Path) else collection
    return run_by_folder([Input(folder) for folder in folders], out, BatchOptions(**options), runs)  # type: ignore[arg-type]


NAMES = {
    "loose.mp4": b"0", "b/1.mp4": b"1", "b/deep/2.mp4": b"2", "a/1.mp4": b"3", ".hidden/4.mp4": b"4", "c/x.txt": b"",
}  # fmt: skip


def test_results_lie_where_one_run_puts_them(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection, out, other = files(tmp_path / "in", NAMES), tmp_path / "out", tmp_path / "other"
    assert go(runs, collection, out) == 0
    Runs()([Input(collection)], other, BatchOptions())
    assert made(out) == made(other) == ["a/1.wav", "b/1.wav", "b/deep/2.wav", "loose.wav"]
    assert runs.work.seen == ["loose.mp4", "1.mp4", "1.mp4", "2.mp4"]
    assert sorted(path.parent.name for path in out.rglob(LEDGER_NAME)) == ["a", "b", "out"]
    said = capsys.readouterr().err.splitlines()
    assert f"d2m: folder 1 of 3: {collection / 'a'}" in said
    (passed,) = [line for line in said if "passed over" in line]
    assert str(collection / "c") in passed
    assert "d2m copy: 3 runs: 4 done" in said


def test_it_goes_on_where_it_ended(runs: Runs, tmp_path: Path) -> None:
    collection, out = files(tmp_path / "in", {**NAMES, "a/2.mp4": b"stop"}), tmp_path / "out"
    assert go(runs, collection, out) == 130
    assert made(out) == ["a/1.wav", "loose.wav"]
    assert len(runs.done) == 2  # the others were not begun
    (collection / "a" / "2.mp4").write_bytes(b"going on")
    assert go(runs, collection, out) == 0
    assert runs.work.seen[-3:] == ["2.mp4", "1.mp4", "2.mp4"]
    before = len(runs.work.seen)
    assert go(runs, collection, out) == 0
    assert len(runs.work.seen) == before


def test_failures_count_through_all(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {f"{folder}/{number}.mp4": b"bad" for folder in "abc" for number in range(2)}
    collection, out = files(tmp_path / "in", names), tmp_path / "out"
    assert go(runs, collection, out, max_failures=3) == 1
    assert [options.failures_before for _, options in runs.asked] == [0, 0, 2]  # the first: loose files
    assert len(runs.work.seen) == 3
    assert runs.done[-1].stopped == "stopped after 3 failures, as max_failures=3 asks for"
    assert "3 failed, 1 not tried; folders that were not begun: 1" in capsys.readouterr().err
    # Those that failed before are not tried, and do not count.
    assert go(runs, collection, out, max_failures=4) == 1
    assert len(runs.work.seen) == 6


def test_a_store_has_a_folder_for_each(runs: Runs, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    collection, there = files(tmp_path / "in", {"loose.mp4": b"0", "a/1.mp4": b"1"}), tmp_path / "there"
    assert go(runs, collection, tmp_path / "out", store=f"file://{there}/") == 0
    assert made(there) == ["a/1.wav", "loose.wav"]
    assert made(tmp_path / "out") == []


def test_links_to_folders_are_followed_once(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection = files(tmp_path / "in", {"a/1.mp4": b"1", "b/1.mp4": b"2"})
    elsewhere = files(tmp_path / "elsewhere", {"2.mp4": b"2"})
    links = {"c": "a", "d": str(elsewhere), "e": "..", "loop": "loop", "a/up": "..", "a/beside": "../b"}
    for name, target in links.items():
        (collection / name).symlink_to(target)
    (collection / "a" / "own").symlink_to(files(tmp_path / "more", {"3.mp4": b"3"}))
    assert go(runs, collection, tmp_path / "out") == 0
    assert made(tmp_path / "out") == ["a/1.wav", "a/own/3.wav", "b/1.wav", "d/2.wav"]
    said = capsys.readouterr().err
    assert f"passed over: {collection / 'c'} is {collection / 'a'}" in said
    assert f"passed over: {collection / 'e'} is {tmp_path}" in said
    assert f"passed over: {collection / 'a' / 'beside'} is {collection / 'b'}, which has a run of its own" in said
    assert f"passed over: {collection / 'loop'} is a symbolic link that leads in a circle" in said


def test_shares_hang_on_names_in_the_collection(runs: Runs, tmp_path: Path) -> None:
    names = {f"{folder:02}/video.mp4": b"" for folder in range(12)}
    collection = files(tmp_path / "in", names)
    assert go(runs, collection, tmp_path / "first", shard=Shard(1, 2)) == 0
    assert go(runs, collection, tmp_path / "second", shard=Shard(2, 2)) == 0
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    assert sorted(first + second) == [name.replace(".mp4", ".wav") for name in sorted(names)]
    alone = Runs()
    alone([Input(collection)], tmp_path / "alone", BatchOptions(shard=Shard(1, 2)))
    assert made(tmp_path / "alone") == first != []


def test_results_in_the_collection_are_no_inputs(runs: Runs, tmp_path: Path) -> None:
    collection = files(tmp_path / "in", {"a/1.mp4": b"1"})
    out = collection / "music"
    for _ in range(2):
        assert go(runs, collection, out) == 0
    assert made(out) == ["a/1.wav"]


def test_folders_that_a_list_names(runs: Runs, tmp_path: Path) -> None:
    collection = files(tmp_path / "in", {"a/1.mp4": b"1"})
    assert run_by_folder([Input(collection, "list, line 1")], tmp_path / "out", PLAIN, runs) == 0
    assert made(tmp_path / "out") == ["a/1.wav"]
    with pytest.raises(UsageError, match=r"^list, line 2: .*none: no such folder; check the spelling"):
        run_by_folder([Input(collection / "none", "list, line 2")], tmp_path / "out", PLAIN, runs)


def test_loose_files_of_one_name_stay_apart(runs: Runs, tmp_path: Path) -> None:
    first, second = (files(tmp_path / name, {"1.mp4": name.encode()}) for name in ("x", "y"))
    third = files(tmp_path / "z", {"a/1.mp4": b"z"})
    folders = [first, second, third, tmp_path / "." / "x", second]
    assert go(runs, folders, tmp_path / "out") == 0
    contents = {path.read_bytes() for path in (tmp_path / "out").rglob("*.wav")}
    assert contents == {b"x", b"y", b"z"}
    assert go(runs, folders, tmp_path / "out") == 0
    assert len(runs.work.seen) == 3


def test_what_is_refused(runs: Runs, tmp_path: Path) -> None:
    first, second = (files(tmp_path / name, {"same/1.mp4": b"1"}) for name in ("x", "y"))
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="would lie in one folder"):
        go(runs, [first, second], out)
    with pytest.raises(UsageError, match=r"1\.mp4 is none"):
        go(runs, first / "same" / "1.mp4", out)
    with pytest.raises(UsageError, match="is a pattern"):
        run_by_folder([Input(first / "*", is_pattern=True)], out, PLAIN, runs)
    with pytest.raises(UsageError, match="no input"):
        go(runs, [], out)
    with pytest.raises(UsageError, match="one document of a run"):
        go(runs, first, out, json_out=True)
    files(tmp_path, {"v/1.mp4": b"", "w/v/1.mp4": b""})
    with pytest.raises(UsageError, match="have one name"):
        go(runs, [tmp_path / "v", tmp_path / "w"], out)
    files(out, {"same": b"in the way"})
    with pytest.raises(UsageError, match="same is a file, and results of"):
        go(runs, first, out)
    assert not runs.done
    empty = files(tmp_path / "z", {"a/1.txt": b"", "2.txt": b""})
    with pytest.raises(UsageError, match="holds anything to work on"):
        go(runs, empty, tmp_path / "out")
    with pytest.raises(NothingFoundError):
        search([Input(first, is_flat=True)], frozenset({".mp4"}))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may look everywhere")
def test_a_closed_folder_costs_its_own(runs: Runs, tmp_path: Path) -> None:
    collection = files(tmp_path / "in", {"a/1.mp4": b"1", "b/1.mp4": b"2"})
    (collection / "a").chmod(0)
    assert go(runs, collection, tmp_path / "out") == 0
    assert made(tmp_path / "out") == ["b/1.wav"]


class Watched(Runs):
    """Runs that count what is left of those before, and leave nothing behind themselves."""

    left: list[int]

    def __call__(self, inputs: Sequence[Input], out: Path, options: BatchOptions) -> BatchSummary:
        self.left.append(sum(type(one) in (Entry, Found, Outcome) for one in gc.get_objects()))
        summary = super().__call__(inputs, out, options)
        self.done.clear()
        return summary


def test_nothing_of_earlier_folders_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_folder, "COLLECTED", 5)
    runs = Watched()
    runs.left = []
    names = {f"{folder}/{number}.mp4": b"" for folder in range(6) for number in range(5)}
    gc.collect()
    gc.disable()  # it may come at any time, and then long not
    try:
        assert go(runs, files(tmp_path / "in", names), tmp_path / "out") == 0
    finally:
        gc.enable()
    assert len(made(tmp_path / "out")) == 30
    # The first is of the loose files; before each of the others one run or more had all its names in memory.
    assert len(runs.left) == 7
    assert set(runs.left) == {runs.left[0]}
