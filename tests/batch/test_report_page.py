from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.batch import report_page
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.report_drawing import draw_again, draw_generated, drawing_path, keep_drawing
from d2m_cli.batch.report_page import PAGE, ReportPage, report
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, run_batch
from d2m_cli.batch.status import folder_status
from d2m_cli.errors import UsageError, VideoError
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import generate_music
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import VIDEO_SUFFIXES, search
from d2m_cli.media.passage import Passage
from d2m_cli.pose.cache import PoseCache
from d2m_cli.pose.io import SUFFIX, save_poses
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.track import Poses
from d2m_cli.report.page.html import render
from d2m_cli.report.page.sidecar import read_head
from tests.generation.test_pipeline import models, quiet
from tests.report.page_folder import SECONDS, Folder, film, record, track


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "out")
    made.add("one")
    made.add("two", drawn=False)
    return made


def inputs(tmp_path: Path, *names: str) -> Path:
    place = tmp_path / "in"
    place.mkdir(exist_ok=True)
    for name in names:
        (place / f"{name}.mov").write_bytes(name.encode())
    return place


def run(tmp_path: Path, overwrite: bool = False, verify: bool = False) -> BatchSummary:
    """Make records of the videos of a folder, in place of music."""

    def work(job: Job, told: Report) -> ItemResult:
        if job.path.read_bytes().startswith(b"bad"):
            raise VideoError(f"{job.path}: is not a video <b>")
        if job.path.read_bytes().startswith(b"stop"):
            raise KeyboardInterrupt
        for path in job.artefacts.values():
            with atomic_path(path) as part:
                part.write_text(json.dumps(record(job.path.name)))
        return ItemResult()

    return run_batch(
        search([tmp_path / "in"], VIDEO_SUFFIXES).found,
        work,
        settings={},
        artefacts=(".wav", ".json"),
        out_dir=tmp_path / "out",
        options=BatchOptions(overwrite=overwrite, verify=verify),
        label="generate",
        page=ReportPage(overwrite),
    )


def test_a_run_leaves_a_page_with_all_that_was_made_and_all_that_failed(tmp_path: Path) -> None:
    inputs(tmp_path, "a", "bad")
    assert run(tmp_path).exit_code == 1
    text = (tmp_path / "out" / PAGE).read_text()
    assert 'href="#r2">a</a>' in text
    assert "is not a video &lt;b&gt;" in text
    inputs(tmp_path, "c")
    run(tmp_path)
    assert 'href="#r3">c</a>' in (tmp_path / "out" / PAGE).read_text()


def test_an_interrupted_run_says_how_to_see_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs(tmp_path, "a", "stop")
    assert run(tmp_path).exit_code == 130
    assert f"d2m report {tmp_path / 'out'}\n" in capsys.readouterr().err
    assert not (tmp_path / "out" / PAGE).exists()
    assert 'href="#r' in report(tmp_path / "out").read_text()


def test_a_run_with_nothing_to_do_leaves_the_page_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs(tmp_path, "a", "bad")
    run(tmp_path)
    page = tmp_path / "out" / PAGE
    before = page.stat()
    noted = (tmp_path / "out" / "d2m-ledger.jsonl").read_bytes().count(b'"command": "report"')

    def render(*given: object, **named: object) -> str:
        raise AssertionError("there is nothing new to show")

    with monkeypatch.context() as patched:
        patched.setattr(report_page, "render", render)
        run(tmp_path)
        run(tmp_path, verify=True)
    after = page.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (tmp_path / "out" / "d2m-ledger.jsonl").read_bytes().count(b'"command": "report"') == noted
    page.unlink()
    run(tmp_path)
    assert page.is_file()


def test_what_d2m_did_not_make_is_not_replaced_and_nothing_is_begun(tmp_path: Path) -> None:
    inputs(tmp_path, "a")
    page = tmp_path / "out" / PAGE
    page.parent.mkdir()
    page.write_text("my own page")
    with pytest.raises(UsageError, match=r"is in the way and d2m did not make it.*report=False"):
        run(tmp_path)
    assert sorted(path.name for path in page.parent.iterdir()) == [PAGE]
    run(tmp_path, overwrite=True)
    page.write_text("changed by hand")
    with pytest.raises(UsageError, match="was changed since d2m made it"):
        run(tmp_path)
    assert page.read_text() == "changed by hand"


def test_a_page_that_was_placed_and_not_noted_is_known_as_d2ms_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs(tmp_path, "a")
    run(tmp_path)
    inputs(tmp_path, "b")
    add = Ledger.add

    def die(ledger: Ledger, entry: Entry) -> None:
        if entry.command == "report" and entry.status == "checked":
            raise KeyboardInterrupt
        add(ledger, entry)

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "add", die)
        assert run(tmp_path).interrupted
    assert run(tmp_path).exit_code == 0
    assert 'href="#r2">b</a>' in (tmp_path / "out" / PAGE).read_text()


def test_the_page_is_no_result_of_its_own(tmp_path: Path) -> None:
    inputs(tmp_path, "a")
    run(tmp_path)
    assert [one.command for one in folder_status(tmp_path / "out")] == ["generate"]


def test_whoever_is_last_leaves_a_page_that_holds_all(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    # One writes the page of what it sees, and meanwhile more is finished and shown by another.
    slow, quick = Ledger(folder.out), Ledger(folder.out)
    calls: list[int] = []

    def slowly(*given: Any, **named: Any) -> str:
        calls.append(len(calls))
        if len(calls) == 1:
            folder.add("three")
            ReportPage().write(quick)
            assert "three</a>" in (folder.out / PAGE).read_text()
        return render(*given, **named)

    monkeypatch.setattr(report_page, "render", slowly)
    ReportPage().write(slow)
    text = (folder.out / PAGE).read_text()
    assert all(f">{name}</a>" in text for name in ("one", "two", "three"))
    assert len(calls) == 2


def test_many_at_once_end_with_one_page(folder: Folder) -> None:
    def finish(number: int) -> None:
        folder.add(f"clip-{number}")
        ReportPage().write(Ledger(folder.out))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(finish, range(8)))
    text = (folder.out / PAGE).read_text()
    assert all(f">clip-{number}</a>" in text for number in range(8))


def test_what_is_too_much_for_one_page_goes_to_several(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "PER_PAGE", 2)
    monkeypatch.setattr(report_page, "MOST", 5)
    for number in range(4):
        folder.add(f"clip-{number}")
    ReportPage().write(folder.ledger)
    names = ["report.html", "report-2.html", "report-3.html"]
    texts = [(folder.out / name).read_text() for name in names]
    # The oldest is left out, and that is said.
    assert not any(">one</a>" in text for text in texts)
    assert "6 results" in texts[0]
    assert "the 5 latest are listed" in texts[0]
    assert [text.count("<article") for text in texts] == [2, 2, 1]
    assert 'href="report-3.html"' in texts[0]
    monkeypatch.setattr(report_page, "PER_PAGE", 300)
    folder.add("clip-4")
    ReportPage().write(folder.ledger)
    assert sorted(path.name for path in folder.out.glob("report*.html")) == ["report.html"]


def test_results_that_went_are_named(folder: Folder) -> None:
    (folder.out / "one.json").unlink()
    (folder.out / "two.json").write_text("[]")
    ReportPage().write(folder.ledger)
    text = (folder.out / PAGE).read_text()
    assert "it was moved or removed since" in text
    assert "is not as d2m writes it" in text


def test_report_draws_what_is_missing_and_estimates_nothing(folder: Folder, tmp_path: Path) -> None:
    ReportPage().write(folder.ledger)
    assert "not drawn yet" in (folder.out / PAGE).read_text()
    first = drawing_path(folder.out, "one").stat()
    assert report(folder.out) == folder.out / PAGE
    text = (folder.out / PAGE).read_text()
    assert "not drawn yet" not in text
    assert "poses of this video are not kept here" in text
    head = read_head(drawing_path(folder.out, "two"))
    assert head.counts[:2] == (6, 6)
    assert drawing_path(folder.out, "one").stat().st_mtime_ns == first.st_mtime_ns
    cache = FileCache(tmp_path / "cache")
    key = PoseCache(cache, PoseOptions(dancers="largest", decoder="auto")).key("two.mp4")
    cache.keep(key, SUFFIX, lambda path: save_poses(path, Poses((track(),), None, SECONDS)))
    report(folder.out, cache=cache, overwrite=True)
    assert read_head(drawing_path(folder.out, "two")).left_out == ()


def test_report_draws_takes_that_are_there(folder: Folder) -> None:
    takes = [{"number": number, "file": f"kept.take-{number}.wav"} for number in (1, 2)]
    folder.add("kept", takes=takes, drawn=False)
    (folder.out / "kept.take-1.wav").unlink()
    report(folder.out)
    (second,) = read_head(drawing_path(folder.out, "kept")).takes
    assert second.number == 2
    assert second.scores[0].f1 < 0.5


def test_a_passage_is_drawn_with_its_own_poses_and_a_still_dancer_is_somebody(folder: Folder, tmp_path: Path) -> None:
    document = json.loads((folder.out / "two.json").read_bytes())
    document["settings"]["start"] = 1.5
    document["rhythm"] |= {"tempo": None, "peaks": [], "beats": [], "steady": False}
    cache = FileCache(tmp_path / "cache")
    known = PoseCache(cache, PoseOptions(dancers="largest", decoder="auto"))
    whole, part = Poses((track(),), None, 2 * SECONDS), Poses((track(),), None, SECONDS)
    cache.keep(known.key("two.mp4"), SUFFIX, lambda path: save_poses(path, whole))
    (folder.out / "two.json").write_text(json.dumps(document))
    entry = folder.ledger.owned()["two.json"]
    path = drawing_path(folder.out, "two")

    def left_out() -> tuple[str, ...]:
        assert draw_again(path, folder.out, "two", entry, folder.out / "two.json", cache) is None
        return read_head(path).left_out

    assert [text.partition(":")[0] for text in left_out()] == ["The skeleton is left out"]
    cache.keep(known.key("two.mp4", Passage(1.5)), SUFFIX, lambda path: save_poses(path, part))
    assert left_out() == ()
    document["notes"] = ["nobody was found in the picture: the music is by the prompt alone"]
    (folder.out / "two.json").write_text(json.dumps(document))
    assert left_out() == ("Nobody was found in the picture, so there is no skeleton to draw.",)


def test_a_drawing_of_other_music_of_the_same_name_is_not_taken(folder: Folder) -> None:
    path = drawing_path(folder.out, "one")
    folder.add("one", drawn=False, seed=9)
    ReportPage().write(folder.ledger)
    assert 'data-drawing="./report_files/one.js"' not in (folder.out / PAGE).read_text()
    report(folder.out)
    assert 'data-drawing="./report_files/one.js"' in (folder.out / PAGE).read_text()
    assert path.is_file()


def test_a_file_in_the_place_of_a_drawing_is_left_alone(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    from d2m_cli.ground.progress import Progress

    path = drawing_path(folder.out, "two")
    path.write_text("let mine = 1;\n")
    report(folder.out, progress=Progress())
    assert path.read_text() == "let mine = 1;\n"
    assert "is in the way and d2m did not make it" in capsys.readouterr().err


def test_only_folders_of_results_have_a_page(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no d2m-ledger"):
        report(tmp_path)


def test_music_is_drawn_as_it_was_made_and_a_fault_in_drawing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = film(tmp_path / "film.mp4")
    used = models(SECONDS)
    made = generate_music(video, "aa", used, GenerateOptions(rhythm="words"), quiet)
    poses = used.poses.estimate(video)
    paths = {suffix: tmp_path / f"film{suffix}" for suffix in (".wav", ".json")}
    made.write(paths)
    path = drawing_path(tmp_path, "film")
    assert draw_generated(path, made, poses, paths[".json"]) is None
    head = read_head(path)
    assert head.counts[0] == len(made.rhythm.peaks)
    values = json.loads(path.read_text().splitlines()[1].removeprefix("d2mReport(").removesuffix(");"))
    np.testing.assert_allclose(values["accents"], made.rhythm.peaks, atol=1e-4)
    assert values["skeletons"]["size"] == [320, 240]
    # The record holds all that `d2m report` needs to draw the same later.
    kept = json.loads(paths[".json"].read_text())["rhythm"]
    np.testing.assert_allclose(kept["beats"], made.rhythm.beats.beats, atol=1e-6)
    assert kept["steady"] == made.rhythm.beats.steady

    nobody = replace(made, rhythm=replace(made.rhythm, peaks=np.zeros(0), tempo=None, mapped=None))
    assert draw_generated(path, nobody, None, paths[".json"]) is None
    assert "Nobody was found" in read_head(path).left_out[0]

    def broken(*given: object, **named: object) -> None:
        raise RuntimeError("no such band")

    monkeypatch.setattr("d2m_cli.report.page.drawing.spectrogram", broken)
    assert "no such band" in draw_generated(path, made, poses, paths[".json"])
    assert "no such band" in read_head(path).left_out[0]
    assert read_head(path).counts is None


def test_a_drawing_that_was_made_elsewhere_takes_its_place_and_no_other_s(tmp_path: Path) -> None:
    path = tmp_path / "report_files" / "sub" / "a.js"
    assert keep_drawing(path, b"/*d2m-report 1 {}*/\n") is None
    assert path.read_bytes() == b"/*d2m-report 1 {}*/\n"
    path.write_bytes(b"mine")
    assert "is in the way and d2m did not make it" in str(keep_drawing(path, b"/*d2m-report 1 {}*/\n"))
    assert path.read_bytes() == b"mine"


def test_drawings_of_what_is_not_there_any_more_go(folder: Folder) -> None:
    folder.add("sub/three")
    folder.add("four")
    folder.add("five")
    ledger, kept = folder.ledger, folder.out / "report_files"
    names = tuple(Artefact(f"sub/three{suffix}", -1, "") for suffix in (".wav", ".mp4", ".json"))
    ended = Entry("three.mp4", "c", "s", "interrupted", names, command="generate", stem="sub/three")
    begun = replace(ended, status="started", stem="four", artefacts=(Artefact("four.json", -1, ""),), run="of another")
    ledger.add(ended)
    ledger.add(begun)
    for name in ("removed", "mine"):
        shutil.copyfile(kept / "one.js", kept / f"{name}.js")
    (kept / "mine.js").write_text("let mine = 1;\n")
    (kept / "mine.txt").write_text("mine")
    ReportPage().write(ledger)
    there = sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*"))
    assert there == ["five.js", "four.js", "mine.js", "mine.txt", "one.js"]
