"""A folder of videos: genres and splits by sub-folder, and a name and reason for all that is not used."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import UsageError
from d2m_cli.training.data.dataset import DanceSet, ReadOptions, read_dances
from tests.conftest import write_video

SHORT = ReadOptions(window_seconds=0.5)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory):
    """Puts a video of a second, with sound, where it is wanted; each kind is encoded once."""
    folder = tmp_path_factory.mktemp("films")

    @cache
    def made(seconds: float, sound: float | None) -> Path:
        samples = None if sound is None else np.sin(np.arange(round(8000 * sound)) / 5)
        path = folder / f"{seconds} {sound}.mp4"
        return write_video(path, seconds=seconds, fps=10, sound=samples, sound_rate=8000)

    def write(path: Path, seconds: float = 1.0, sound: float | None = 1.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made(seconds, sound), path)
        return path

    return write


def reasons(dances: DanceSet, root: Path) -> dict[str, str]:
    return {skip.path.relative_to(root).as_posix(): skip.cause for skip in dances.skipped}


def test_genre_comes_from_the_innermost_folder_that_names_one(tmp_path: Path, film) -> None:
    for name in ("lock/a.mp4", "Street Jazz/anna/b.mp4", "KR/LA-hip-hop/c.mp4", "mystery/d.mp4", "e.mp4"):
        film(tmp_path / name)
    dances = read_dances(tmp_path, SHORT)
    assert {clip.name: clip.genre for clip in dances.clips} == {
        "KR/LA-hip-hop/c": "LH", "Street Jazz/anna/b": "JS", "e": None, "lock/a": "LO", "mystery/d": None,
    }  # fmt: skip
    assert dances.kind == "folder"
    assert dances.notes == (
        f"{tmp_path}: videos in folders that name no genre have none: the folder itself (1), mystery (1)",
    )
    clip = next(clip for clip in dances.clips if clip.name == "lock/a")
    assert (clip.dance, clip.audio, clip.view, clip.audio_start) == (tmp_path / "lock/a.mp4", clip.dance, None, 0.0)
    assert clip.song == "lock/a"
    assert clip.seconds == pytest.approx(1.0, abs=0.15)


def test_a_genre_can_be_required(tmp_path: Path, film) -> None:
    film(tmp_path / "lock/a.mp4")
    film(tmp_path / "polka/b.mp4")
    dances = read_dances(tmp_path, ReadOptions(window_seconds=0.5, require_genre=True))
    assert [clip.name for clip in dances.clips] == ["lock/a"]
    assert reasons(dances, tmp_path) == {
        "polka/b.mp4": "its genre is not known: put it in a folder named by genre, name it in a table, or train with "
        "genre_encoder='none'"
    }


def test_what_is_not_used_is_named(tmp_path: Path, film) -> None:
    film(tmp_path / "good.mp4")
    film(tmp_path / "mute.mp4", sound=None)
    film(tmp_path / "short.mp4", seconds=0.3)
    film(tmp_path / "short sound.mp4", sound=0.2)
    (tmp_path / "damaged.mp4").write_bytes(b"\0" * 500)
    (tmp_path / "empty.mov").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a video")
    dances = read_dances(tmp_path, SHORT)
    assert [clip.name for clip in dances.clips] == ["good"]
    told = reasons(dances, tmp_path)
    assert told.pop("damaged.mp4").startswith("is not a video that can be decoded")
    assert told == {
        "empty.mov": "the file is empty; copy or download it again",
        "mute.mp4": "holds no sound",
        "short.mp4": "the dance is shorter than a window of 0.5 s",
        "short sound.mp4": "the music is shorter than a window of 0.5 s",
    }
    assert all(skip.reason.startswith(f"{skip.path}: ") for skip in dances.skipped)
    assert dances.summary().skipped[0].count == 1


def test_nothing_usable(tmp_path: Path, film) -> None:
    film(tmp_path / "mute.mp4", sound=None)
    with pytest.raises(UsageError, match=r"no dance with music(.|\n)*mute\.mp4: holds no sound"):
        read_dances(tmp_path, SHORT)


def test_folders_of_splits_are_honoured(tmp_path: Path, film) -> None:
    for name in ("train/lock/a.mp4", "Val/lock/b.mp4", "test/c.mp4", "lock/d.mp4", "e.mp4"):
        film(tmp_path / name)
    dances = read_dances(tmp_path, SHORT)
    assert {clip.name: clip.split for clip in dances.clips} == {
        "Val/lock/b": "validation", "test/c": "test", "train/lock/a": "train",
    }  # fmt: skip
    assert [clip.genre for clip in dances.clips] == ["LO", None, "LO"]
    assert reasons(dances, tmp_path) == dict.fromkeys(("e.mp4", "lock/d.mp4"), "lies outside the folders of the splits")
    assert "the folder itself" not in dances.notes[0]
    assert "test (1)" in dances.notes[0]


def test_a_split_that_is_needed_and_empty(tmp_path: Path, film) -> None:
    film(tmp_path / "test/a.mp4")
    film(tmp_path / "train/b.mp4", sound=None)
    with pytest.raises(UsageError, match=r"the train split is empty \(clips: train 0, validation 0, test 1\)"):
        read_dances(tmp_path, SHORT)
    film(tmp_path / "train/c.mp4")
    assert len(read_dances(tmp_path, SHORT).clips) == 2
    with pytest.raises(UsageError, match="the validation split is empty"):
        read_dances(tmp_path, ReadOptions(window_seconds=0.5, needs=("train", "validation")))


def test_split_by_hash_does_not_hang_on_where_the_folder_lies(tmp_path: Path, film) -> None:
    for number in range(5):
        film(tmp_path / "one" / "lock" / f"{number}.mp4", seconds=0.6)
    first = read_dances(tmp_path / "one", SHORT)
    (tmp_path / "one").rename(tmp_path / "two")
    second = read_dances(tmp_path / "two", SHORT)
    assert {clip.name: clip.split for clip in first.clips} == {clip.name: clip.split for clip in second.clips}
    assert {clip.split for clip in first.clips} == {"train", "validation", "test"}


def test_odd_and_equal_names(tmp_path: Path, film) -> None:
    names = ["with space.mp4", "ünïcode 舞.mp4", "-leading.mp4", "a:b.mp4", "x/same.mp4", "y/same.mp4", "same.mkv"]
    for name in [*names, "same.mp4"]:
        film(tmp_path / name)
    dances = read_dances(tmp_path, SHORT)
    assert not dances.skipped
    assert {clip.dance.relative_to(tmp_path).as_posix() for clip in dances.clips} == {*names, "same.mp4"}
    assert len({clip.name for clip in dances.clips}) == 8


def test_names_of_aist_say_genre_and_song(tmp_path: Path, film) -> None:
    film(tmp_path / "gLO_sBM_c01_d13_mLO0_ch03.mp4")
    film(tmp_path / "gLO_sBM_c01_d14_mLO0_ch04.mp4")
    dances = read_dances(tmp_path, SHORT)
    assert [(clip.genre, clip.song) for clip in dances.clips] == [("LO", "mLO0")] * 2
    assert len({clip.split for clip in dances.clips}) == 1
