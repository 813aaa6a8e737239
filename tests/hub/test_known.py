from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.stamp import settle
from d2m_cli.hub import known
from d2m_cli.hub.known import cache_folder, files_stamp, known_sha256


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "d2m" / "hashes"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really read."""
    seen: list[str] = []
    really = known.file_sha256  # type: ignore[attr-defined]

    def spy(path: Path) -> str:
        seen.append(path.name)
        return really(path)

    monkeypatch.setattr(known, "file_sha256", spy)
    return seen


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that is old enough to be trusted, though its times are of now."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    settle(path)
    return path


def test_a_file_is_read_once(cache: Path, reads: list[str], weights: Path) -> None:
    expected = hashlib.sha256(b"one").hexdigest()
    assert [known_sha256(weights) for _ in range(3)] == [expected] * 3
    assert reads == ["weights.bin"]
    assert known_sha256(weights, verify=True) == expected
    assert len(reads) == 2
    # The same size.
    weights.write_bytes(b"two")
    assert known_sha256(weights) == hashlib.sha256(b"two").hexdigest()


def test_a_hash_taken_in_the_tick_of_a_change_is_not_trusted(
    cache: Path, reads: list[str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: weights.stat().st_ctime_ns + 1000)
    assert [known_sha256(weights) for _ in range(2)] == [hashlib.sha256(b"one").hexdigest()] * 2
    assert len(reads) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"path": 1, "stamp": [1, 2], "sha256": ""}', "\x00"])
def test_what_others_put_into_the_cache_is_not_believed(cache: Path, weights: Path, text: str) -> None:
    known_sha256(weights)
    (note,) = cache.iterdir()
    note.write_text(text)
    assert known_sha256(weights) == hashlib.sha256(b"one").hexdigest()
    assert json.loads(note.read_text())["sha256"] == hashlib.sha256(b"one").hexdigest()


def test_a_copy_elsewhere_is_read_for_itself(cache: Path, reads: list[str], weights: Path) -> None:
    known_sha256(weights)
    (weights.parent / "link.bin").symlink_to(weights)
    known_sha256(weights.parent / "link.bin")
    assert len(reads) == 1
    os.link(weights, weights.parent / "other.bin")
    known_sha256(weights.parent / "other.bin")
    assert reads == ["weights.bin", "other.bin"]


def test_no_cache_is_no_error(reads: list[str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    # Neither a folder that can't be made, nor a home that nobody knows.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert known_sha256(weights) == hashlib.sha256(b"one").hexdigest()

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder() is None
    assert known_sha256(weights) == hashlib.sha256(b"one").hexdigest()
    assert len(reads) == 2


def test_a_folder_is_known_by_names_and_contents(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "a.safetensors").write_bytes(b"12")
    (folder / "b.json").write_bytes(b"34")
    stamps = [files_stamp(folder)]
    # Same names, same sizes.
    (folder / "b.json").write_bytes(b"43")
    stamps.append(files_stamp(folder))
    (folder / "b.json").rename(folder / "c.json")
    stamps.append(files_stamp(folder))
    assert len(set(stamps)) == 3
    (folder / "c.json").rename(folder / "b.json")
    assert files_stamp(folder) == stamps[1]


def test_what_can_not_be_read_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"none\.bin: can't be read \(No such file"):
        known_sha256(tmp_path / "none.bin")


def test_long_reading_is_told(
    cache: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_LONG", 3)
    known_sha256(weights)
    assert f"of weights in {weights.parent} for their checksums" in capsys.readouterr().err
    known_sha256(weights)
    assert capsys.readouterr().err == ""
