from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.pose.estimator import PoseOptions
from d2m_cli.pose.track import Poses
from d2m_cli.rhythm import cache as rhythm_cache
from d2m_cli.rhythm.cache import SUFFIX, DanceCache
from d2m_cli.rhythm.extract import MODES, RhythmOptions, extract_rhythm
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid
from tests.rhythm.dances import film, groove


@pytest.fixture(scope="module")
def poses() -> Poses:
    return film(groove(seconds=9.0, bpm=116.0), 30.0)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a dance")
    return path


def same(one: Rhythm, other: Rhythm) -> bool:
    arrays: list[tuple[np.ndarray, np.ndarray]] = [(one.envelope, other.envelope), (one.peaks, other.peaks)]
    arrays += [(one.beats.beats, other.beats.beats), (one.beats.tempo, other.beats.tempo)]
    equal = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)
    plain = [
        (r.rate, r.duration, r.mode, r.tempo, r.mapped is None, r.beats.bpm, r.beats.confidence) for r in (one, other)
    ]
    return equal and plain[0] == plain[1]


@pytest.mark.parametrize("mode", MODES)
def test_rhythms_come_back_to_the_last_bit(mode: str, video: Path, poses: Poses, tmp_path: Path) -> None:
    options, content = RhythmOptions(mode=mode), content_digest(video)
    read: list[str] = []

    def extract() -> Rhythm:
        read.append(mode)
        return extract_rhythm(poses, options)

    plain = extract()
    for _ in range(3):
        known = DanceCache(FileCache(tmp_path / "cache"), PoseOptions())
        known.poses(video, content, lambda: poses)
        kept = known.rhythm(content, options, extract)
        assert same(kept, plain)
        grid = RhythmGrid(mode=mode, rate=options.rate, steps=256)
        np.testing.assert_array_equal(kept.window(2.3, grid), plain.window(2.3, grid))
    assert len(read) == 2
    DanceCache(None, PoseOptions()).rhythm(content, options, extract)
    assert len(read) == 3


def test_a_rhythm_without_tempo_or_beats(video: Path, poses: Poses, tmp_path: Path) -> None:
    still = Rhythm(np.zeros(101, np.float32), 50.0, np.zeros(0), 2.0, None, "stable")
    content = content_digest(video)
    for _ in range(2):
        known = DanceCache(FileCache(tmp_path / "cache"), PoseOptions())
        known.poses(video, content, lambda: poses)
        assert same(known.rhythm(content, RhythmOptions(), lambda: still), still)


def test_the_key_holds_all_that_rhythms_hang_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(content: str = "c", poses: PoseOptions | None = None, **changes: object) -> str:
        known = DanceCache(FileCache(tmp_path), poses or PoseOptions())
        return known.rhythm_key(content, replace(RhythmOptions(mode="paper"), **changes))  # type: ignore[arg-type]

    plain = key()
    assert plain == key()
    others = [
        key("d"),
        key(poses=PoseOptions(dancers="all")),
        key(mode="stable"),
        key(sectors=8),
        key(window=0.3),
        key(rate=60.0),
        key(dancers="only:0"),
        DanceCache(FileCache(tmp_path), PoseOptions()).key("c"),
    ]
    for name, value in (
        ("FORMAT", 99),
        ("code_digest", lambda *_: "other code"),
        ("known_sha256", lambda *_: "another model"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(rhythm_cache, name, value)
            others.append(key())
    assert len({plain, *others}) == 1 + len(others)


def test_what_is_damaged_is_told_and_made_again(video: Path, poses: Poses, tmp_path: Path) -> None:
    told: list[str] = []
    files, content, options = FileCache(tmp_path / "cache", tell=told.append), content_digest(video), RhythmOptions()
    known = DanceCache(files, PoseOptions())
    known.poses(video, content, lambda: poses)
    plain = known.rhythm(content, options, lambda: extract_rhythm(poses, options))
    path = files.place(known.rhythm_key(content, options), SUFFIX)
    whole = path.read_bytes()
    for harmed in (whole[:-40], b"", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        told.clear()
        path.write_bytes(harmed)
        assert same(known.rhythm(content, options, lambda: extract_rhythm(poses, options)), plain)
        assert [line.split(" (")[0] for line in told] == [f"damaged in the cache, and made again: {path}"]
        assert path.read_bytes() == whole


def test_rhythms_of_a_video_that_changed_meanwhile_are_not_kept(video: Path, poses: Poses, tmp_path: Path) -> None:
    files, content = FileCache(tmp_path / "cache"), content_digest(video)
    known = DanceCache(files, PoseOptions())

    def change() -> Poses:
        video.write_bytes(b"another dance")
        return poses

    known.poses(video, content, change)
    known.rhythm(content, RhythmOptions(), lambda: extract_rhythm(poses, RhythmOptions()))
    assert files.use().entries == 0
