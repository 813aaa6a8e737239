from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from d2m_cli.errors import OutputError
from d2m_cli.ground.digests import content_digest, settings_digest
from d2m_cli.ground.ledger import LEDGER_NAME, Artefact, Entry, Ledger
from d2m_cli.ground.stamp import Stamp, settle

WAV, JSON = (hashlib.blake2b(content, digest_size=16).hexdigest() for content in (b"123", b"12"))
DONE = Entry("in.mp4", "c1", "s1", "done", (Artefact("a.wav", 3, WAV), Artefact("a.json", 2, JSON)), seconds=1.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(b"123")
    (tmp_path / "a.json").write_bytes(b"12")
    return tmp_path


def files(folder: Path, *names: str) -> dict[str, Path]:
    return {Path(name).suffix: folder / name for name in names}


def test_done_means_same_content_settings_and_all_files_there(folder: Path) -> None:
    Ledger(folder).add(DONE)
    ledger = Ledger(folder)
    both = files(folder, "a.wav", "a.json")
    assert ledger.is_done("c1", "s1", both)
    assert ledger.is_done("c1", "s1", files(folder, "a.wav"))
    assert not ledger.is_done("c2", "s1", both)
    assert not ledger.is_done("c1", "s2", both)
    assert not ledger.is_done("c1", "s1", files(folder, "a.wav", "a.mp4"))
    (folder / "a.wav").write_bytes(b"1234")
    assert not ledger.is_done("c1", "s1", both)
    (folder / "a.wav").unlink()
    assert not ledger.is_done("c1", "s1", both)


def test_the_latest_line_that_names_a_file_counts(folder: Path) -> None:
    both = files(folder, "a.wav", "a.json")
    ledger = Ledger(folder)
    ledger.add(DONE)
    ledger.add(replace(DONE, settings="s2"))
    assert not Ledger(folder).is_done("c1", "s1", both)
    assert Ledger(folder).is_done("c1", "s2", both)
    # Begun again and never finished.
    ledger.add(replace(DONE, settings="s2", status="started"))
    assert not Ledger(folder).is_done("c1", "s2", both)


def test_half_a_line_of_a_killed_process_spoils_nothing(folder: Path) -> None:
    Ledger(folder).add(DONE)
    with (folder / LEDGER_NAME).open("ab") as file:
        file.write(b'{"input": "other.mp4", "content": "c')
    ledger = Ledger(folder)
    assert ledger.is_done("c1", "s1", files(folder, "a.wav"))
    ledger.add(replace(DONE, content="c9"))
    assert Ledger(folder).is_done("c9", "s1", files(folder, "a.wav"))


@pytest.mark.parametrize(
    "line",
    [
        b'"artefacts": [{"path": "a.wav", "size": 1e999, "digest": "d"}]',
        b'"artefacts": [{"path": "a.wav", "size": NaN, "digest": "d"}]',
        b'"artefacts": [], "seconds": -1e999',
        b'"artefacts": [], "seconds": 1' + b"0" * 400,
        b'"artefacts": [], "details": {"bpm": [NaN]}',
        b'"artefacts": [], "details": {"bpm": Infinity}',
        b'"artefacts": [], "details": {"bpm": 1e999}',
    ],
)
def test_a_line_with_numbers_that_are_none_is_passed_over(folder: Path, line: bytes) -> None:
    whole = b'{"input": "i", "content": "c1", "settings": "s1", "status": "done", ' + line + b"}\n"
    (folder / LEDGER_NAME).write_bytes(whole)
    ledger = Ledger(folder)
    assert not ledger.owned()
    ledger.add(DONE)
    assert Ledger(folder).is_done("c1", "s1", files(folder, "a.wav"))


@pytest.mark.parametrize("line", [b"[]", b"null", b'{"status": "done"}', b"\xff\xfe", b'"x"', b'{"artefacts": 3}'])
def test_what_can_not_be_read_makes_nothing_done(folder: Path, line: bytes) -> None:
    (folder / LEDGER_NAME).write_bytes(line + b"\n")
    Ledger(folder).add(DONE)
    assert Ledger(folder).is_done("c1", "s1", files(folder, "a.wav"))


def test_every_line_is_json(folder: Path) -> None:
    ledger = Ledger(folder)
    ledger.add(replace(DONE, input="a\nb\udcff☃", details={"bpm": 103.4}))
    (line,) = (folder / LEDGER_NAME).read_text().splitlines()
    document = json.loads(line)
    assert document["input"] == "a\nb\udcff☃"
    assert document["details"] == {"bpm": 103.4}
    assert document["artefacts"][0] == {"path": "a.wav", "size": 3, "digest": WAV}


def test_a_ledger_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        Ledger(tmp_path)
    (tmp_path / LEDGER_NAME).rmdir()
    os.mkfifo(tmp_path / LEDGER_NAME)
    with pytest.raises(OutputError, match="not a regular file"):
        Ledger(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder"):
        Ledger(tmp_path / "file").add(DONE)


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert content_digest(tmp_path / "x") == hashlib.blake2b(b"abc" * 1_000_000, digest_size=16).hexdigest()
    assert settings_digest("pose", {"a": 1, "b": Path("x")}) == settings_digest("pose", {"b": Path("x"), "a": 1})
    assert settings_digest("pose", {"a": 1}) != settings_digest("rhythm", {"a": 1})
    assert settings_digest("pose", {"a": 1}) != settings_digest("pose", {"a": 2})


def test_results_are_told_by_their_content(folder: Path) -> None:
    Ledger(folder).add(DONE)
    before = (folder / "a.wav").stat()
    (folder / "a.wav").write_bytes(b"321")
    assert not Ledger(folder).is_done("c1", "s1", files(folder, "a.wav"))
    os.utime(folder / "a.wav", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not Ledger(folder).is_done("c1", "s1", files(folder, "a.wav"))
    (folder / "a.wav").write_bytes(b"123")
    assert Ledger(folder).is_done("c1", "s1", files(folder, "a.wav"))


def test_a_stamp_saves_reading_and_verify_reads_all_the_same(folder: Path) -> None:
    settle(folder / "a.wav")
    stamp = Stamp.of(folder / "a.wav")
    # A digest that is not the content's shows whether it was looked at.
    wrong = (Artefact("a.wav", 3, "wrong"),)
    ledger = Ledger(folder)
    ledger.add(replace(DONE, artefacts=wrong, stamps={"a.wav": stamp}))
    both = files(folder, "a.wav")
    assert Ledger(folder).is_done("c1", "s1", both)
    assert not Ledger(folder).is_done("c1", "s1", both, verify=True)
    # Taken in the very tick in which the file was written: may have been written once more since.
    early = replace(stamp, noted=stamp.changed + 1_000_000)
    ledger.add(replace(DONE, artefacts=wrong, stamps={"a.wav": early}))
    assert not Ledger(folder).is_done("c1", "s1", both)


def test_what_was_read_is_told_to_be_noted(folder: Path) -> None:
    settle(folder / "a.json")
    both = files(folder, "a.wav", "a.json")
    ledger = Ledger(folder)
    ledger.add(replace(DONE, stamps={"a.wav": Stamp.of(folder / "a.wav")}))
    assert set(ledger.checked("c1", "s1", both) or {}) == {"a.json"}
    assert set(ledger.checked("c1", "s1", both, verify=True) or {}) == {"a.wav", "a.json"}
    assert ledger.checked("c2", "s1", both) is None


def test_lines_of_others_are_read_before_a_line_is_added(folder: Path) -> None:
    first, second = Ledger(folder), Ledger(folder)
    first.add(DONE)
    assert second.owner("a.wav") is None
    with second.locked():
        assert second.owner("a.wav") == DONE
        second.add(replace(DONE, status="started", run="r"))
    first.refresh()
    assert [entry.status for entry in first.in_hand("r")] == ["started"]
    (folder / LEDGER_NAME).unlink()
    (folder / LEDGER_NAME).touch()
    first.refresh()
    assert first.owner("a.wav") is None


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from d2m_cli.ground.ledger import Artefact, Entry, Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for number in range(50):\n"
        "    name = f'{sys.argv[2]}-{number}'\n"
        "    ledger.add(Entry(name, 'c' * 3000, 's', 'done', (Artefact(name, 1, 'd'),)))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "abc"]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert set(Ledger(tmp_path).owned()) == {f"{name}-{number}" for name in "abc" for number in range(50)}
    assert len((tmp_path / LEDGER_NAME).read_bytes().splitlines()) == 150


def test_deaths_are_counted_until_any_file_is_finished(folder: Path) -> None:
    ledger = Ledger(folder)
    wav, other = files(folder, "a.wav"), files(folder, "b.wav")

    def die(content: str = "c1", settings: str = "s1") -> None:
        ledger.add(replace(DONE, content=content, settings=settings, status="started", run="r"))
        ledger.add(replace(DONE, content=content, settings=settings, status="died", run="r"))

    die()
    die()
    ledger.add(replace(DONE, status="failed", artefacts=(Artefact("b.wav", -1, ""),)))
    ledger.add(replace(DONE, status="checked", artefacts=(Artefact("c.wav", -1, ""),)))
    assert Ledger(folder).deaths("c1", "s1", wav) == 2
    assert (ledger.died_over(wav), ledger.died_over(other)) == (2, 0)
    # Of another content or other settings nothing is known.
    assert (ledger.deaths("c2", "s1", wav), ledger.deaths("c1", "s2", wav)) == (0, 0)
    die(settings="s2")
    assert (ledger.deaths("c1", "s1", wav), ledger.deaths("c1", "s2", wav)) == (0, 1)
    ledger.add(replace(DONE, artefacts=(Artefact("b.wav", 1, ""),)))
    assert Ledger(folder).deaths("c1", "s2", wav) == 0
