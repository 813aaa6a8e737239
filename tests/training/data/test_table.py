"""The table of dances: what each cell means, and a line number for all that is not used."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import UsageError
from d2m_cli.media.audio import save_wav
from d2m_cli.pose.io import save_poses
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.io import save_rhythm
from d2m_cli.rhythm.sequence import Rhythm
from d2m_cli.training.data.dataset import DanceSet, ReadOptions, read_dances
from tests.conftest import MakeVideo
from tests.training.aist_tree import RATE, keypoints, music, save_keypoints

HEADER = "video,audio,genre,start"


def poses(path: Path, seconds: float) -> None:
    times = np.arange(round(seconds * 10)) / 10
    track = PoseTrack(np.ones((len(times), 17, 3), np.float32), times, (64, 48), 0, "made up")
    save_poses(path, Poses((track,), None, seconds))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Poses of 12 s, a rhythm of 8 s and keypoints of 5.12 s; songs of 20 s."""
    poses(tmp_path / "a.pose.npz", 12.0)
    rhythm = Rhythm(np.zeros(400, np.float32), 50.0, np.array([1.0]), 8.0, None, "paper")
    save_rhythm(tmp_path / "b.rhythm.json", rhythm)
    save_keypoints(tmp_path / "k.pkl", keypoints(307))
    for name in ("one", "two", "three"):
        save_wav(tmp_path / f"{name}.wav", music(20.0), RATE)
    return tmp_path


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "dances.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def told(dances: DanceSet) -> list[str]:
    return [skip.reason.removeprefix(f"{skip.path}: ") for skip in dances.skipped]


def test_every_kind_of_dance(folder: Path, make_video: MakeVideo) -> None:
    film = make_video(folder / "c.mp4", seconds=6.0, fps=10, sound=np.zeros(8000 * 6), sound_rate=8000)
    source = table(
        folder,
        "a.pose.npz,one.wav,lock,2.5",
        "b.rhythm.json,two.wav,KR,",
        "k.pkl,three.wav,Street Jazz,0",
        "c.mp4,,,",
    )
    dances = read_dances(source)
    assert not dances.skipped
    assert dances.kind == "manifest"
    a, b, k, c = dances.clips
    assert (a.name, a.dance, a.audio, a.view) == ("a", folder / "a.pose.npz", folder / "one.wav", None)
    assert (a.genre, a.audio_start, a.song, a.seconds) == ("LO", 2.5, "one", 12.0)
    assert (b.name, b.genre, b.audio_start, b.seconds) == ("b", "KR", 0.0, 8.0)
    assert (k.name, k.genre, k.view) == ("k c01", "JS", 0)
    assert k.seconds == pytest.approx(307 / 60, abs=1e-4)
    assert (c.dance, c.audio, c.song, c.genre) == (film, film, "c", None)
    assert c.seconds == pytest.approx(6.0, abs=0.05)


def test_keypoints_of_several_cameras(folder: Path) -> None:
    dances = read_dances(table(folder, "k.pkl,one.wav,LO,0"), ReadOptions(views=(0, 4)))
    assert [(clip.name, clip.view) for clip in dances.clips] == [("k c01", 0), ("k c05", 4)]


def test_dance_and_music_count_as_far_as_both_go(folder: Path) -> None:
    source = table(folder, "a.pose.npz,one.wav,LO,13.5", "b.rhythm.json,two.wav,LO,16", "a.pose.npz,three.wav,LO,30")
    dances = read_dances(source)
    assert [clip.seconds for clip in dances.clips] == [pytest.approx(6.5)]
    assert told(dances) == [
        "line 3: the music is shorter than a window of 5.12 s (4.00 s): 'b.rhythm.json,two.wav,LO,16'",
        "line 4: the music is shorter than a window of 5.12 s (0.00 s): 'a.pose.npz,three.wav,LO,30'",
    ]
    assert dances.summary().skipped[0].count == 2


def test_lines_that_fail_are_named(folder: Path, make_video: MakeVideo) -> None:
    make_video(folder / "mute.mp4", seconds=6.0, fps=10)
    (folder / "notes.txt").write_text("no video")
    source = table(
        folder,
        "a.pose.npz,one.wav,LO,0",
        "a.pose.npz,one.wav,salsa,1",
        "gone.mp4,one.wav,LO,0",
        "a.pose.npz,gone.wav,LO,0",
        "a.pose.npz,one.wav,LO,-1",
        "a.pose.npz,one.wav,LO,soon",
        "a.pose.npz,one.wav,LO,nan",
        "a.pose.npz,,LO,0",
        ",one.wav,LO,0",
        "a.pose.npz,one.wav,LO,1,5",
        "a.pose.npz,one.wav,LO,0.0",
        "mute.mp4,,LO,0",
        "",
        "notes.txt,one.wav,LO,0",
    )
    dances = read_dances(source)
    assert [clip.name for clip in dances.clips] == ["a"]
    reasons = told(dances)
    last = reasons.pop()
    assert reasons == [
        "line 3: unknown genre 'salsa'",
        f"line 4: there is no such file: 'gone.mp4' ({folder / 'gone.mp4'})",
        f"line 5: there is no such file: 'gone.wav' ({folder / 'gone.wav'})",
        "line 6: start must be between 0 and 86400 seconds: '-1'",
        "line 7: start is not a number of seconds: 'soon'",
        "line 8: start must be between 0 and 86400 seconds: 'nan'",
        "line 9: poses and rhythms have no sound of their own; name the audio: 'a.pose.npz,,LO,0'",
        "line 10: names no video: ',one.wav,LO,0'",
        "line 11: has more cells than the first line; put names with commas in quotes, and write numbers with a point: "
        "'a.pose.npz,one.wav,LO,1,5'",
        "line 12: repeats another line, 2: 'a.pose.npz,one.wav,LO,0.0'",
        f"line 13: {folder / 'mute.mp4'}: holds no sound",
    ]
    assert last.startswith(f"line 15: {folder / 'notes.txt'}: is not a video that can be decoded")
    assert all(skip.path == source for skip in dances.skipped)
    assert "holds no sound" in {skips.cause for skips in dances.summary().skipped}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b'a.pose.npz,one.wav,LO,"0,5"', "with a decimal point, as 0.5: '0,5'"),
        (b"a.pose.npz,one.wav,LO,1_000", "not a number of seconds: '1_000'"),
        (b"a.pose.npz,one.wav,LO,inf", "between 0 and 86400 seconds: 'inf'"),
        (b"a.pose.npz,one.wav,LO,1e308", "between 0 and 86400 seconds: '1e308'"),
        (b"a.pose.npz,one.wav,LO," + b"9" * 3000, "between 0 and 86400 seconds: '9999"),
        (b"..\\set\\a.pose.npz,one.wav,LO,0", r"forward slashes: '\.\.\\set\\a\.pose\.npz'"),
        (b"a\0b.mp4,one.wav,LO,0", r"no letters: 'a\\x00b.mp4'"),
        (b"a\x1b[2J.mp4,one.wav,LO,0", r"no letters: 'a\\x1b"),
        (b"x" * 300 + b".mp4,one.wav,LO,0", "can't be looked for .*: 'xxx"),
        (b"x" * 10_000 + b".mp4,one.wav,LO,0", "more than 4096 letters: 'xxx"),
        (b"x" * 200_000 + b".mp4,one.wav,LO,0", "no line of a table .*: 'xxx"),
        (b"deeper,one.wav,LO,0", "is no file: 'deeper'"),
        (b'"a.pose.npz,one.wav,LO,0', "no line of a table .*: '\"a.pose.npz"),
        (b'a.pose.npz,"one".wav,LO,0', "no line of a table"),
        (b"a.pose.npz,one.wav,L\xd6,0", r"not UTF-8.*: 'a.pose.npz,one.wav,L\\xd6,0'"),
        (b"a.pose.npz", "no sound of their own; name the audio: 'a.pose.npz'"),
        (b"a.pose.npz,one.wav,[/b],0", r"unknown genre '\[/b\]'"),
        (b"nan.pose.npz,one.wav,LO,0", r"nan\.pose\.npz: is not a readable pose file"),
        (b"deep.rhythm.json,one.wav,LO,0", r"deep\.rhythm\.json is not a rhythm file"),
        (b"no.pkl,one.wav,LO,0", r"no\.pkl: is no complete pickle"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_one_bad_line_costs_that_line_alone(folder: Path, line: bytes, word: str) -> None:
    (folder / "deeper").mkdir()
    with np.load(folder / "a.pose.npz") as file:
        np.savez(folder / "nan.pose.npz", **{name: file[name] for name in file.files} | {"times": np.full(120, np.nan)})
    (folder / "deep.rhythm.json").write_text("[" * 100_000)
    (folder / "no.pkl").write_bytes(b"junk")
    path = folder / "t.csv"
    path.write_bytes(b"\n".join([HEADER.encode(), b"a.pose.npz,one.wav,LO,0", line, b"b.rhythm.json,two.wav,HO,0"]))
    dances = read_dances(path)
    assert [clip.name for clip in dances.clips] == ["a", "b"]
    assert len(dances.skipped) == 1
    assert re.search(rf"t\.csv: line 3: (.*){word}", dances.skipped[0].reason)
    # Where it is the only one, the error says as much.
    path.write_bytes(b"\n".join([HEADER.encode(), b"", line]))
    with pytest.raises(UsageError, match=rf"t\.csv: line 3: (.*){word}"):
        read_dances(path)


def test_names_that_are_already_numbered_by_line(folder: Path) -> None:
    shutil.copy(folder / "a.pose.npz", folder / "a line 2.pose.npz")
    source = table(folder, "a.pose.npz,one.wav,LO,0", "a.pose.npz,two.wav,LO,0", "a line 2.pose.npz,one.wav,LO,0")
    names = [clip.name for clip in read_dances(source).clips]
    assert names == ["a line 2 line 2", "a line 3", "a line 2 line 4"]


def test_the_development_datas_odd_table(shared: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "man"
    folder.mkdir()
    rhythm = Rhythm(np.zeros(400, np.float32), 50.0, np.array([1.0]), 8.0, None, "stable")
    for number in range(4):
        save_rhythm(folder / f"train_0{number}.rhythm.json", rhythm)
        save_wav(folder / f"train_0{number}.ogg", music(20.0), RATE)
    shutil.copy(shared("cases/manifest_odd.csv"), folder / "odd.csv")
    dances = read_dances(folder / "odd.csv")
    assert [clip.name for clip in dances.clips] == ["train_00", "train_02"]
    comma, backslash = told(dances)
    assert comma == "line 3: start must be written with a decimal point, as 0.5: '0,5'"
    assert backslash.startswith("line 5: there is no such file; write paths with forward slashes")
    assert r"'..\man\train_03.rhythm.json'" in backslash


def test_every_cause_is_named_where_no_line_can_be_used(folder: Path) -> None:
    source = table(
        folder,
        "none.pose.npz,one.wav,lock,",
        "a.pose.npz,one.wav,polka,",
        "a.pose.npz,one.wav,lock,-1",
        "a.pose.npz,one.wav,lock,x",
        "a.pose.npz,one.wav,lock,18",
        "a.pose.npz,dances.csv,lock,",
        ",one.wav,lock,",
    )
    with pytest.raises(UsageError) as error:
        read_dances(source)
    assert [number for number in range(2, 9) if f"line {number}:" in str(error.value)] == list(range(2, 9))


def test_all_lines_failing_is_an_error(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"dances\.csv: holds no dance(.|\n)*2 x unknown genre, such as"):
        read_dances(table(folder, "a.pose.npz,one.wav,salsa,0", "a.pose.npz,two.wav,tango,0"))


def test_split_and_song_columns(folder: Path) -> None:
    source = table(
        folder,
        "a.pose.npz,one.wav,LO,0,tune,Train",
        "a.pose.npz,two.wav,LO,0,,val",
        "b.rhythm.json,three.wav,LO,0,air,test",
        "b.rhythm.json,one.wav,LO,0,tune",
        "b.rhythm.json,one.wav,LO,1,tune,later",
        header=f"{HEADER},song,split",
    )
    dances = read_dances(source)
    assert [(clip.song, clip.split) for clip in dances.clips] == [
        ("tune", "train"), ("two", "validation"), ("air", "test"),
    ]  # fmt: skip
    assert told(dances) == [
        "line 5: split is none of train, validation and test: ''",
        "line 6: split is none of train, validation and test: 'later'",
    ]


def test_clips_of_one_dance_have_names_of_their_own(folder: Path) -> None:
    source = table(folder, "a.pose.npz,one.wav,LO,0", "b.rhythm.json,one.wav,LO,0", "a.pose.npz,one.wav,LO,3")
    dances = read_dances(source)
    assert [clip.name for clip in dances.clips] == ["a line 2", "b", "a line 4"]
    assert len({clip.split for clip in dances.clips}) == 1


def test_a_song_in_two_splits(folder: Path) -> None:
    source = table(folder, "a.pose.npz,one.wav,LO,0,train", "b.rhythm.json,one.wav,LO,0,test", header=f"{HEADER},split")
    with pytest.raises(UsageError, match="line 3 puts the song 'one' into test, and line 2 into train"):
        read_dances(source)


def test_without_a_split_column_the_song_decides(folder: Path) -> None:
    lines = [f"a.pose.npz,{song}.wav,LO,{start}" for song in ("one", "two", "three") for start in (0, 1)]
    splits = {(clip.song, clip.split) for clip in read_dances(table(folder, *lines)).clips}
    assert len(splits) == 3
    assert {split for _, split in splits} == {"train", "validation", "test"}


def test_byte_order_mark_quotes_case_and_order_of_columns(folder: Path) -> None:
    save_wav(folder / "süß, leise.wav", music(20.0), RATE)
    path = folder / "t.csv"
    path.write_bytes('\ufeffGenre, Start ,AUDIO,video\r\nlock,0,"süß, leise.wav",a.pose.npz\r\n'.encode())
    assert [clip.song for clip in read_dances(path).clips] == ["süß, leise"]


def test_paths_are_relative_to_the_table(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("tables")
    path = table(elsewhere, f"{folder / 'a.pose.npz'},{folder / 'one.wav'},LO,0", "a.pose.npz,one.wav,LO,0")
    dances = read_dances(path)
    assert len(dances.clips) == 1
    assert str(elsewhere / "a.pose.npz") in dances.skipped[0].reason


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        ("video,audio,genre,start\n".encode("utf-16"), "is UTF-16; save the table as UTF-8"),
        (b"\xff,video\n", "line 1 is not UTF-8"),
        (b"video,audio,genre\na.pose.npz,one.wav,LO\n", "lacks start"),
        (b"video;audio;genre;start\n", "separated by semicolons; save the table with commas"),
        (b"video,audio,genre,start,splt\n", "'splt'"),
        (b"video,audio,genre,start,start\n", "a column twice"),
        (b"video,audio,genre,start\na.mp4,b.wav,s\xfc\xdf,0\n", "line 2: is not UTF-8(.|\\n)*'a.mp4,b.wav,s.*,0'"),
        (b'video,audio,genre,start\na.mp4,"b"c.wav,LO,0\n', "line 2: is no line of a table"),
        (b"video,audio,genre,start\n", "holds no dance"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UsageError, match=word) as caught:
        read_dances(tmp_path / "t.csv")
    assert str(tmp_path / "t.csv") in str(caught.value)
