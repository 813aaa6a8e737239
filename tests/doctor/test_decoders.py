from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m_cli.doctor import decoders
from d2m_cli.doctor.check import Check
from d2m_cli.doctor.clips import KINDS, USUAL, Kind, write_clip
from d2m_cli.doctor.decoders import kind_check, read
from d2m_cli.errors import VideoError


def test_all_kinds_are_read_here() -> None:
    found = [one for one in decoders.look() if isinstance(one, Check)]
    assert [one.name for one in found if one.name != "decord"] == [kind.name for kind in KINDS]
    assert [one for one in found if one.state != "ok"] == []
    by = {one.name: one.text for one in found}
    assert by[".avi (MPEG-4)"] == "by PyAV (times of avi files are not read right by decord)"


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, USUAL)
    assert read(path, "pyav") == ("", "pyav")
    path.write_bytes(path.read_bytes()[:-500])
    wrong, _ = read(path, "pyav")
    assert wrong.startswith("can't read it: clip.mp4: ")


def test_wrong_pictures_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader:
        decoder = "decord"
        count, shift = 12, 0

        def __init__(self, path: Path, decoder: str) -> None:
            pass

        def __iter__(self):
            frames = np.zeros((self.count, 96, 160, 3), np.uint8)
            for number in range(self.count):
                frames[number, :, 80:] = 60 + 12 * (number + self.shift)
            yield type("Chunk", (), {"frames": frames})

    monkeypatch.setattr("d2m_cli.media.video.VideoReader", Reader)
    assert read(tmp_path / "clip.mp4", "auto") == ("", "decord")
    Reader.shift = 2  # two frames early: 24 brighter
    assert read(tmp_path / "clip.mp4", "auto") == ("gives other pictures, 24 of 255 off", "decord")
    Reader.count = 11
    assert read(tmp_path / "clip.mp4", "auto") == ("gives 11 of 12 pictures", "decord")


@pytest.mark.parametrize(("kind", "state"), [(USUAL, "bad"), (KINDS[1], "warn")], ids=["usual", "other"])
def test_a_kind_that_cannot_be_read(kind: Kind, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, decoder: str) -> None:
        raise VideoError(f"{path}: is not a video that can be decoded")

    monkeypatch.setattr("d2m_cli.media.video.VideoReader", refuse)
    check = kind_check(kind, tmp_path)
    assert check.state == state
    assert str(tmp_path) not in check.text


def test_a_decoder_that_fails_beside_one_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "read", lambda path, decoder: ("", "pyav") if decoder == "pyav" else ("crashes", "x"))
    assert (kind_check(USUAL, tmp_path).state, kind_check(KINDS[4], tmp_path).state) == ("bad", "warn")


def test_kinds_that_cannot_be_written(tmp_path: Path) -> None:
    readable = kind_check(Kind(".flv", "no_such_encoder", "flv", "Sorenson"), tmp_path)
    assert (readable.state, readable.text) == ("ok", "a decoder is there; not tried, for want of an encoder")
    unknown = kind_check(Kind(".xyz", "no_such_encoder", "no_such_codec", "XYZ"), tmp_path)
    assert (unknown.state, unknown.text) == ("warn", "FFmpeg here has no decoder for it")


def test_the_usual_kind_must_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, kind: Kind) -> None:
        raise ValueError("no such encoder")

    monkeypatch.setattr(decoders, "write_clip", fail)
    found = {one.name: one for one in decoders.look() if isinstance(one, Check)}
    assert found[USUAL.name].state == "bad"
    assert "ValueError: no such encoder" in found[USUAL.name].text
    assert found[KINDS[1].name].state == "ok"


def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(decoders, "KINDS", KINDS[:1])
    assert [one.state for one in decoders.look() if isinstance(one, Check)] == ["ok"]
    assert list(tmp_path.iterdir()) == []
