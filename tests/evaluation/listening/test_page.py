"""What the page of a listening test holds and hides."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import AudioError, UsageError, VideoError
from d2m_cli.evaluation.listening.clips import LOUDNESS
from d2m_cli.evaluation.listening.page import ListeningTest, make_listening_test, with_true_music
from d2m_cli.ground.options import tell_flags
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.media.loudness import integrated_loudness
from d2m_cli.media.mux import mux
from d2m_cli.media.video import probe
from tests.conftest import write_video
from tests.evaluation.listening.material import (
    CLICK,
    DANCES,
    RATE,
    SECONDS,
    SYSTEMS,
    clicks,
    document,
    embedded,
    key_items,
    systems_of,
)


def test_every_system_has_every_dance_once(made: ListeningTest) -> None:
    items = key_items(made.key)
    assert sorted(items.values()) == sorted(itertools.product(DANCES, SYSTEMS))
    assert set(embedded(made.page)) == set(items)
    page = document(made.page)
    assert page["test"] == made.test
    assert sorted(itertools.chain(*page["clips"])) == sorted(items)
    assert all(len({items[item][0] for item in same_dance}) == 1 for same_dance in page["clips"])
    assert made.items == 9
    assert made.systems == SYSTEMS
    assert sorted(made.clips) == sorted(DANCES)
    assert made.size == made.page.stat().st_size


def test_what_is_missing_is_named(made: ListeningTest) -> None:
    (one,) = made.incomplete
    assert one.clip == "waltz_dance"
    assert one.lacks[:2] == ("music of wolverine", "music of tarantula")
    assert "dances" in one.lacks[2]


@pytest.mark.parametrize("kind", ["made", "beside"])
def test_nothing_given_away_tells_system_or_dance(kind: str, request: pytest.FixtureRequest, folder: Path) -> None:
    test: ListeningTest = request.getfixturevalue(kind)
    given = [test.page] if test.media is None else [test.page, *test.media.iterdir()]
    contents = [path.read_bytes() for path in given] + list(embedded(test.page).values())
    assert len(contents) == 1 + 9
    secrets = [*SYSTEMS, *DANCES, folder.name, "key.json"]
    for secret in secrets:
        assert not any(secret.encode() in content.lower() for content in contents)
        assert not any(secret in path.name for path in given)
    # The same search finds them in what the clips are made from.
    samples, rate = load_audio(folder / SYSTEMS[0] / f"{DANCES[0]}.wav")
    plain = mux(folder / "dances" / f"{DANCES[0]}.mp4", samples, rate, folder / "plain.mp4").path.read_bytes()
    assert SYSTEMS[0].encode() in plain
    assert DANCES[0].encode() in plain


def test_the_page_asks_nothing_of_the_network(made: ListeningTest) -> None:
    text = re.sub(r'(<script type="text/plain"[^>]*>)[^<]*', r"\1", made.page.read_text())
    assert not re.search(r"https?:|//[a-z]+\.|<link|<img|<iframe|@import|url\(", text)
    assert not re.search(r"fetch\(|XMLHttpRequest|sendBeacon|WebSocket|userAgent", text)
    assert "connect-src 'none'" in text


def test_media_are_the_same_inside_and_beside(made: ListeningTest, beside: ListeningTest) -> None:
    assert beside.media is not None
    files = {path.stem: path.read_bytes() for path in beside.media.iterdir()}
    assert files == embedded(made.page)
    assert not embedded(beside.page)
    assert beside.size == beside.page.stat().st_size + sum(map(len, files.values()))
    assert made.test == beside.test


def test_clips_are_whole_and_in_time(beside: ListeningTest, folder: Path) -> None:
    assert beside.media is not None
    for item, (dance, system) in key_items(beside.key).items():
        path = beside.media / f"{item}.mp4"
        info = probe(path)
        assert (info.codec, info.frames, info.has_audio) == ("h264", 20, True)
        samples, rate = load_audio(path)
        assert np.abs(samples[0]).argmax() / rate == pytest.approx(CLICK, abs=0.009)
        before = clicks(0.9 / 2 ** SYSTEMS.index(system))[0]
        reach = range(-200, 201)
        start, end = round(0.1 * RATE), round(0.7 * RATE)
        lag = max(reach, key=lambda shift: float(samples[0][start + shift : end + shift] @ before[start:end]))
        assert abs(lag) <= 0.002 * RATE, (dance, system)


def test_all_clips_are_equally_loud(beside: ListeningTest) -> None:
    assert beside.media is not None
    assert beside.loudness is not None
    assert beside.loudness <= LOUDNESS
    heard = [integrated_loudness(*load_audio(path)) for path in beside.media.iterdir()]
    assert heard == pytest.approx([beside.loudness] * 9, abs=0.3)
    assert document(beside.page)["loudness"] == pytest.approx(beside.loudness, abs=0.051)


def test_loudness_can_be_left_as_it_is(folder: Path) -> None:
    out = folder / "as_is"
    test = make_listening_test(
        systems_of(folder), out, dances=folder / "dances", seed=5, count=1, embed=False, same_loudness=False
    )
    assert test.loudness is None
    heard = {
        system: integrated_loudness(*load_audio(out / "media" / f"{item}.mp4"))
        for item, (_, system) in key_items(test.key).items()
    }
    # Each system has half the amplitude of the one before.
    assert heard["zebrafish"] - heard["wolverine"] == pytest.approx(6.02, abs=0.3)
    assert heard["wolverine"] - heard["tarantula"] == pytest.approx(6.02, abs=0.3)


def test_a_turned_picture_stays_turned(tmp_path: Path, turn_video: Callable[[Path], None]) -> None:
    (tmp_path / "real").mkdir()
    video = write_video(tmp_path / "real" / "a.mp4", seconds=SECONDS)
    turn_video(video)
    save_wav(tmp_path / "one" / "a.wav", clicks(0.5), RATE)
    test = make_listening_test({"one": tmp_path / "one"}, tmp_path / "out", dances=tmp_path / "real", embed=False)
    assert test.media is not None
    (path,) = test.media.iterdir()
    assert probe(path).rotation == probe(video).rotation != 0


def test_the_seed_decides_all(made: ListeningTest, folder: Path) -> None:
    again = make_listening_test(systems_of(folder), folder / "again", dances=folder / "dances", seed=5)
    assert again.page.read_bytes() == made.page.read_bytes()
    assert again.key.read_bytes() == made.key.read_bytes()
    other = make_listening_test(systems_of(folder), folder / "other", dances=folder / "dances", seed=6)
    assert other.test != made.test
    assert not set(key_items(other.key)) & set(key_items(made.key))


def test_dances_are_drawn_and_shuffled_by_the_seed(folder: Path) -> None:
    orders = set()
    for seed in range(6):
        out = folder / f"seed{seed}"
        make_listening_test(systems_of(folder), out, dances=folder / "dances", seed=seed, count=1, embed=False)
        orders.add(tuple(key_items(out / "key.json").values()))
    assert len(orders) >= 4
    assert len({order[0][0] for order in orders}) == 3
    assert len({order[0][1] for order in orders}) >= 2


def test_too_large_a_page_is_refused(folder: Path, made: ListeningTest, request: pytest.FixtureRequest) -> None:
    out = folder / "large"
    request.addfinalizer(lambda: tell_flags(False))
    tell_flags()
    with pytest.raises(UsageError, match=r"--count 2 of 3.*--no-embed"):
        make_listening_test(systems_of(folder), out, dances=folder / "dances", seed=5, limit_bytes=made.size - 1)
    assert not out.exists()
    exact = make_listening_test(systems_of(folder), out, dances=folder / "dances", seed=5, limit_bytes=made.size)
    assert exact.size == made.size


def test_a_key_is_never_lost(made: ListeningTest, folder: Path) -> None:
    before = made.key.read_bytes()
    with pytest.raises(UsageError, match=r"key\.json is another test's key"):
        make_listening_test(systems_of(folder), made.key.parent, dances=folder / "dances", seed=6)
    assert made.key.read_bytes() == before
    make_listening_test(systems_of(folder), made.key.parent, dances=folder / "dances", seed=5)


def test_systems_with_videos_of_their_own(tmp_path: Path) -> None:
    for system, size in (("one", (64, 48)), ("two", (80, 64))):
        (tmp_path / system).mkdir()
        write_video(tmp_path / system / "a.mp4", seconds=SECONDS, size=size, sound=clicks(0.5)[0], sound_rate=RATE)
    save_wav(tmp_path / "two" / "b.wav", clicks(0.5), RATE)
    (tmp_path / "one" / "deep").mkdir()
    write_video(tmp_path / "one" / "deep" / "a.mp4", seconds=SECONDS)
    systems = {system: tmp_path / system for system in ("one", "two")}
    test = make_listening_test(systems, tmp_path / "out", embed=False)
    assert test.media is not None
    widths = {system: probe(test.media / f"{item}.mp4").width for item, (_, system) in key_items(test.key).items()}
    assert widths == {"one": 64, "two": 80}
    assert [(one.clip, one.lacks) for one in test.incomplete] == [
        ("b", ("music of one", "a video of two")),
        ("deep/a", ("music of two",)),
    ]


def test_what_can_not_be_made(tmp_path: Path, folder: Path) -> None:
    systems = systems_of(folder)
    with pytest.raises(UsageError, match="no system"):
        make_listening_test({}, tmp_path / "out")
    with pytest.raises(UsageError, match="lacks a video of zebrafish"):
        make_listening_test(systems, tmp_path / "out")
    with pytest.raises(UsageError, match=r"nowhere: no such folder"):
        make_listening_test(systems, tmp_path / "out", dances=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="can't use 4 dances: 3 have"):
        make_listening_test(systems, tmp_path / "out", dances=folder / "dances", count=4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="hold no sound and no video"):
        make_listening_test({"none": tmp_path / "empty"}, tmp_path / "out", dances=folder / "dances")
    save_wav(tmp_path / "twice" / "a.wav", clicks(0.5), RATE)
    shutil.copy(tmp_path / "twice" / "a.wav", tmp_path / "twice" / "a.flac")
    with pytest.raises(UsageError, match="same name but for the suffix"):
        make_listening_test({"twice": tmp_path / "twice"}, tmp_path / "out", dances=folder / "dances")
    assert not (tmp_path / "out").exists()


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "dances").mkdir()
    write_video(tmp_path / "dances" / "a.mp4", seconds=SECONDS, codec="mpeg4")
    save_wav(tmp_path / "one" / "a.wav", clicks(0.5), RATE)
    with pytest.raises(VideoError, match=r"a\.mp4: its picture is mpeg4"):
        make_listening_test({"one": tmp_path / "one"}, tmp_path / "out", dances=tmp_path / "dances")
    write_video(tmp_path / "dances" / "a.mp4", seconds=SECONDS)
    (tmp_path / "one" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"a\.wav"):
        make_listening_test({"one": tmp_path / "one"}, tmp_path / "out", dances=tmp_path / "dances")
    assert not (tmp_path / "out").exists()


def test_silence_is_noted_and_kept(tmp_path: Path) -> None:
    (tmp_path / "dances").mkdir()
    write_video(tmp_path / "dances" / "a.mp4", seconds=SECONDS)
    save_wav(tmp_path / "one" / "a.wav", np.zeros((1, round(SECONDS * RATE)), np.float32), RATE)
    test = make_listening_test({"one": tmp_path / "one"}, tmp_path / "out", dances=tmp_path / "dances")
    assert test.notes == ("one, a: silence, or too short to have a loudness",)
    assert test.items == 1


def test_true_music_takes_part_in_a_listening_test(tmp_path: Path) -> None:
    assert with_true_music({"x": tmp_path}, None) == {"x": tmp_path}
    assert list(with_true_music({"x": tmp_path}, tmp_path)) == ["x", "true music"]
    with pytest.raises(UsageError, match="give that system another name"):
        with_true_music({"true music": tmp_path}, tmp_path)
