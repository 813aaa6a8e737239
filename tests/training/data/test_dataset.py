"""The set as a value: windows, counts, splits by song; and which reader is chosen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from d2m_cli.errors import AudioError, UsageError
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import save_wav, sound_seconds
from d2m_cli.training.data.dataset import Clip, DanceSet, ReadOptions, Skip, SkipCounts, read_dances, window_starts
from d2m_cli.training.data.durations import dance_seconds
from d2m_cli.training.data.splits import split_songs
from tests.conftest import MakeVideo
from tests.training.aist_tree import RATE, make_tree, music


def clip(name: str, seconds: float, song: str = "s", split: str = "train", genre: str | None = "LO") -> Clip:
    return Clip(name, Path(f"{name}.mp4"), None, Path("s.wav"), 0.0, song, genre, split, seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("length", "hop", "tail", "starts"),
    [
        (5.12, None, False, [0.0]),
        (305 / 60, None, False, [0.0]),  # 5.083 s, named 5.12
        (5.06, None, False, []),
        (10.20, None, False, [0.0, 5.12]),
        (10.18, None, False, [0.0]),
        (10.24, 2.56, False, [0.0, 2.56, 5.12]),
        (10.19, 2.56, False, [0.0, 2.56, 5.12]),
        (9.6, None, False, [0.0]),
        (9.6, None, True, [0.0, 4.48]),  # 4.48 s are left over: more than half a window
        (7.4, None, True, [0.0]),  # 2.28 s are left over: less
        (4.0, None, True, []),
        (5.14, 0.04, True, [0.0, 0.04]),
        (15.36, None, True, [0.0, 5.12, 10.24]),
    ],
)
def test_windows_are_whole(length: float, hop: float | None, tail: bool, starts: list[float]) -> None:
    assert window_starts(length, 5.12, hop, tail=tail) == pytest.approx(starts, abs=1e-9)


def test_the_papers_count_of_test_windows() -> None:
    """Basic dances of AIST are 16 beats long; the test set is two dances to each of ten songs of known tempo."""
    tempi = {"BR": 80, "PO": 90, "LO": 100, "MH": 110, "LH": 120, "HO": 135, "WA": 80, "KR": 100, "JS": 110, "JB": 130}
    clips = tuple(clip(f"{g}{i}", 16 * 60 / bpm, g, "test") for g, bpm in tempi.items() for i in range(2))
    dances = DanceSet(clips, (), "AIST++")
    assert sum(c.seconds for c in clips) == pytest.approx(187.6, abs=0.05)  # as AIST++'s site says
    assert len(dances.segments("test", 5.12, tail=True)) == 36  # as the paper says
    assert len(dances.segments("test", 5.12)) == 26


@pytest.mark.parametrize(("seconds", "hop"), [(0.0, None), (5.12, 0.0), (5.12, -1.0)])
def test_windows_need_a_length(seconds: float, hop: float | None) -> None:
    with pytest.raises(ValueError, match="above 0"):
        window_starts(10.0, seconds, hop)


def test_segments_go_clip_by_clip() -> None:
    dances = DanceSet((clip("a", 10.3), clip("b", 6.0, split="test"), clip("c", 5.2)), (), "folder")
    assert [(s.clip.name, s.start) for s in dances.segments("train", 5.12)] == [("a", 0.0), ("a", 5.12), ("c", 0.0)]
    assert [s.clip.name for s in dances.segments("test", 5.12)] == ["b"]
    assert dances.segments("validation", 5.12) == ()


def test_two_clips_of_one_name() -> None:
    with pytest.raises(ValueError, match="'a'"):
        DanceSet((clip("a", 6.0), clip("a", 7.0)), (), "folder")


def test_summary() -> None:
    clips = (
        clip("a", 10.3, "one"), clip("b", 6.0, "one", genre="HO"), clip("c", 20.6, "two"),
        clip("d", 6.0, "three", "validation", None),
    )  # fmt: skip
    skipped = (
        Skip(Path("x.mp4"), "x.mp4: holds no sound"),
        Skip(Path("t.csv"), "t.csv: line 3: unknown genre 'salsa'", "unknown genre"),
        Skip(Path("y.mp4"), "y.mp4: holds no sound"),
    )
    summary = DanceSet(clips, skipped, "manifest", ("a note",)).summary(5.12)
    train, validation, test = summary.splits
    assert (train.songs, train.clips, train.segments, train.genres) == (2, 3, 7, (("HO", 1), ("LO", 2)))
    assert train.seconds == pytest.approx(36.9)
    assert (validation.clips, validation.genres) == (1, (("unknown", 1),))
    assert (test.songs, test.clips, test.segments, test.genres) == (0, 0, 0, ())
    assert summary.skipped == (
        SkipCounts("holds no sound", 2, Path("x.mp4"), ("x.mp4: holds no sound", "y.mp4: holds no sound")),
        SkipCounts("unknown genre", 1, Path("t.csv"), ("t.csv: line 3: unknown genre 'salsa'",)),
    )
    assert (summary.kind, summary.notes) == ("manifest", ("a note",))


def test_songs_split_about_eight_to_one_to_one() -> None:
    counts = Counter(split_songs(f"song {i}" for i in range(2000)).values())
    assert counts["train"] == pytest.approx(1600, abs=54)  # three standard deviations
    assert counts["test"] == pytest.approx(200, abs=40)
    assert counts["validation"] == pytest.approx(200, abs=40)


def test_a_song_stays_where_it_is_when_others_come() -> None:
    few = split_songs(f"song {i}" for i in range(60))
    many = split_songs(f"song {i}" for i in reversed(range(200)))
    assert set(few.values()) == {"train", "validation", "test"}
    assert all(many[song] == few[song] for song in few)


@pytest.mark.parametrize("count", range(3, 12))
def test_no_split_is_empty_from_three_songs_on(count: int) -> None:
    for draw in range(40):
        counts = Counter(split_songs(f"{draw} {i}" for i in range(count)).values())
        assert min(counts.values()) >= 1
        assert len(counts) == 3


def test_one_and_two_songs() -> None:
    assert split_songs(["a"]) == {"a": "train"}
    assert sorted(split_songs(["a", "b"]).values()) == ["train", "validation"]
    assert split_songs([]) == {}


def test_both_ways_of_writing_an_umlaut_split_alike() -> None:
    others = [f"song {i}" for i in range(30)]
    for word in ("ü", "ö", "ä"):
        composed, parted = split_songs([*others, word]), split_songs([*others, {"ü": "ü", "ö": "ö", "ä": "ä"}[word]])
        assert composed[word] == parted[{"ü": "ü", "ö": "ö", "ä": "ä"}[word]]


def test_lengths_of_sound(tmp_path: Path, make_video: MakeVideo) -> None:
    save_wav(tmp_path / "a.wav", music(3.25), RATE)
    assert sound_seconds(tmp_path / "a.wav") == pytest.approx(3.25)
    film = make_video(tmp_path / "a.mp4", seconds=2.0, sound=music(2.5, rate=8000)[0], sound_rate=8000)
    assert sound_seconds(film) == pytest.approx(2.5, abs=0.2)
    assert dance_seconds(film) == pytest.approx(2.0, abs=0.05)


def test_sound_that_is_none(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for path, word in (
        (make_video(tmp_path / "mute.mp4", seconds=0.4), "holds no sound"),
        (tmp_path / "text.wav", "can't be decoded"),
        (tmp_path / "gone.wav", "no such file"),
    ):
        with pytest.raises(AudioError, match=word) as caught:
            sound_seconds(path)
        assert str(path) in str(caught.value)
    save_wav(tmp_path / "empty.wav", music(1.0)[:, :0], RATE)
    with pytest.raises(AudioError, match="no length"):
        sound_seconds(tmp_path / "empty.wav")


def test_the_reader_fits_the_source(tmp_path: Path) -> None:
    make_tree(tmp_path / "aist" / "fullset")
    for source in ("aist", "aist/fullset", "aist/fullset/keypoints2d"):
        assert read_dances(tmp_path / source).kind == "AIST++"


@pytest.mark.parametrize(
    ("name", "word"), [("gone", "no such file or folder"), ("a.txt", r"no \.csv"), ("empty", "no file")]
)
def test_no_source(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / "a.txt").write_text("video,audio,genre,start\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=word):
        read_dances(tmp_path / name)


def test_options_are_checked(tmp_path: Path) -> None:
    for views in ((), (9,), (-1,), (0, 0)):
        with pytest.raises(UsageError, match="c01"):
            ReadOptions(views=views)
    with pytest.raises(UsageError, match="music"):
        ReadOptions(music=tmp_path / "gone")


class Told(Progress):
    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.heard: list[object] = []

    def stage(self, label: str, total: int, done: int = 0):
        from contextlib import contextmanager

        self.heard.append(total)

        @contextmanager
        def stage():
            yield lambda steps=1, note="": self.heard.append(note)

        return stage()


def test_progress_hears_of_every_clip(tmp_path: Path) -> None:
    told = Told()
    dances = read_dances(make_tree(tmp_path), progress=told)
    assert told.heard == [6, *(c.name for c in dances.clips)]
