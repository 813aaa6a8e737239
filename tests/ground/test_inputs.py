from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.inputs import named_inputs
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.ground.search import VIDEO_SUFFIXES, search


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(*texts: str) -> list[tuple[str, str]]:
    return [(str(one.path), str(one.stem)) for one in search(named_inputs(texts), VIDEO_SUFFIXES).found]


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_pattern_stands_for_the_videos_that_fit_it() -> None:
    put("clips/b.mp4", "clips/a.mov", "clips/a.txt", "clips/.c.mp4", "clips/deep/d.mp4", "clips/a.dat")
    assert found("clips/*.mp4") == [("clips/b.mp4", "b")]
    assert found("clips/?.m*") == [("clips/a.mov", "a"), ("clips/b.mp4", "b")]
    # A folder that fits is searched; what is no video has to be asked for by its suffix.
    assert found("clips/*") == [("clips/a.mov", "a"), ("clips/b.mp4", "b"), ("clips/deep/d.mp4", "d")]
    assert found("clips/*.dat") == [("clips/a.dat", "a")]


def test_two_asterisks_stand_for_any_folders_and_results_mirror_them() -> None:
    put("clips/a.mp4", "clips/x/b.mp4", "clips/x/y/c.mp4", "clips/x/y/c.mov", "clips/.h/d.mp4")
    os.symlink("..", "clips/x/up")
    everything = [("clips/a.mp4", "a"), ("clips/x/b.mp4", "x/b"), ("clips/x/y/c.mp4", "x/y/c")]
    assert found("clips/**/*.mp4") == everything
    assert found("clips/**/y/*.mp4") == [("clips/x/y/c.mp4", "x/y/c")]
    assert len(found("clips/**")) == 4
    assert [path for path, _ in found("**/b.*")] == ["clips/x/b.mp4"]


def test_results_of_d2m_do_not_fit_a_pattern() -> None:
    put("a.mp4", "out/a.mp4")
    made = Entry("a.mp4", "c", "s", "done", (Artefact("a.mp4", 1, "d"),), place="../a.mp4")
    Ledger(Path("out")).add(made)
    assert found("**/*.mp4") == [("a.mp4", "a")]
    with pytest.raises(UsageError, match=r"no file fits the pattern out/\*.mp4 but results of d2m, such as out/a.mp4"):
        found("out/*.mp4")
    with pytest.raises(UsageError, match=r"no file fits the pattern b\*; check the spelling"):
        found("b*")


def test_a_file_that_is_really_called_so_is_meant() -> None:
    put("@list.txt", "[1]*.mp4", "a.mp4", "#1.mp4")
    Path("list.txt").write_text("a.mp4\n")
    assert found("@list.txt") == [("@list.txt", "@list")]
    assert found("[1]*.mp4") == [("[1]*.mp4", "[1]*")]
    assert found("@./list.txt") == [("a.mp4", "a")]


def test_a_list_in_a_file() -> None:
    put("a.mp4", "deep/b.mp4", "#1.mp4", " c.mp4", "d.mp4")
    text = "\ufeff# all of May\n\na.mp4\r\ndeep\n#1.mp4\n c.mp4\n  d.mp4  \n#gone.mp4\n"
    Path("list.txt").write_bytes(text.encode())
    wanted = [("a.mp4", "a"), ("deep/b.mp4", "b"), ("#1.mp4", "#1"), (" c.mp4", " c"), ("d.mp4", "d")]
    assert found("@list.txt") == wanted


@pytest.mark.parametrize(
    "content", [b"a.mp4\nnew line.mp4\n", b"a.mp4\0new line.mp4\0", b"./a.mp4\0new line.mp4", b"a.mp4\r\nnew line.mp4"]
)
def test_a_list_on_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    put("a.mp4", "new line.mp4", "b.mp4")
    given(monkeypatch, content)
    assert found("-", "b.mp4") == [("a.mp4", "a"), ("new line.mp4", "new line"), ("b.mp4", "b")]


def test_names_with_line_ends_and_odd_bytes_come_separated_by_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"two\nlines.mp4", b"\xff\xfe.mp4", b"# a.mp4"]
    for name in names:
        Path(os.fsdecode(name)).write_bytes(b"x")
    given(monkeypatch, b"\0".join(names) + b"\0")
    assert [path for path, _ in found("-")] == [os.fsdecode(name) for name in names]


def test_what_is_wrong_is_named_with_list_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.mp4")
    Path("list.txt").write_text("a.mp4\n# no\nb.mp4\nc.mp4\nd.mp4\n")
    with pytest.raises(UsageError) as told:
        found("@list.txt")
    assert str(told.value) == (
        "list.txt, line 3: b.mp4: no such file or folder; check the spelling (the same list names 2 more that can't "
        "be used)"
    )
    given(monkeypatch, b"a.mp4\0b.mp4\0")
    with pytest.raises(UsageError, match=r"standard input, name 2: b\.mp4: no such file"):
        found("-")
    given(monkeypatch, b"\n\n")
    with pytest.raises(UsageError, match="standard input lists no file"):
        found("-")
    with pytest.raises(UsageError, match=r"@none.txt: can't read the list 'none.txt' \(No such file"):
        found("@none.txt")
    with pytest.raises(UsageError, match="say it once"):
        found("-", "-")
    Path("list.txt").write_bytes("a.mp4\n".encode("utf-16"))
    with pytest.raises(UsageError, match="UTF-16"):
        found("@list.txt")


@pytest.mark.slow
def test_a_hundred_thousand_lines_are_quick(tmp_path: Path) -> None:
    for folder in range(100):
        Path(f"f{folder}").mkdir()
        for number in range(1000):
            Path(f"f{folder}/{number}.mp4").touch()
    lines = [f"f{number // 1000}/{number % 1000}.mp4" for number in range(100_000)]
    Path("list.txt").write_text("\n".join(lines))
    begun = time.process_time()
    assert len(found("@list.txt")) == 100_000
    assert time.process_time() - begun < 10.0
