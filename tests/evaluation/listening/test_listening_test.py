"""The listening test: what the page holds and hides, what it decides, and scores that are worked out by hand."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from d2m_cli.errors import AudioError, InputError, UsageError, VideoError
from d2m_cli.evaluation.listening.listening_test import (
    LOUDNESS,
    ListeningTest,
    Scores,
    crossed_bootstrap,
    loudness,
    make_listening_test,
    read_results,
)
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.media.mux import mux
from d2m_cli.media.video import probe
from tests.conftest import write_video

RATE = 48000
SECONDS = 0.8
SYSTEMS = ("zebrafish", "wolverine", "tarantula")
DANCES = ("polka_dance", "mazurka_dance", "tango_dance")
CLICK = 0.31


def clicks(strength: float, seconds: float = SECONDS) -> np.ndarray:
    """A sweep with a click, so that it has a loudness and a moment to find again."""
    times = np.arange(round(seconds * RATE)) / RATE
    samples = 0.1 * np.sin(2 * np.pi * (200 * times + 1000 * times**2))
    after = times[times >= CLICK] - CLICK
    samples[times >= CLICK] += 0.8 * np.sin(2 * np.pi * 1000 * after) * np.exp(-300 * after)
    return (strength * samples).astype(np.float32)[None]


def titled(path: Path, title: str) -> Path:
    """A video whose container and tracks say what it is."""
    plain = write_video(path.with_name("plain.mp4"), seconds=SECONDS)
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        target.metadata["title"] = target.metadata["comment"] = title
        copy.metadata["handler_name"] = title
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    plain.unlink()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three systems with music of different loudness for three dances; one has a piece more."""
    root = tmp_path_factory.mktemp("listening")
    (root / "dances").mkdir()
    for dance in DANCES:
        titled(root / "dances" / f"{dance}.mp4", f"{dance} by {SYSTEMS[0]}")
    for number, system in enumerate(SYSTEMS):
        for dance in DANCES:
            save_wav(root / system / f"{dance}.wav", clicks(0.9 / 2**number), RATE)
    save_wav(root / SYSTEMS[0] / "waltz_dance.wav", clicks(0.5), RATE)
    return root


def systems_of(folder: Path) -> dict[str, Path]:
    return {system: folder / system for system in SYSTEMS}


@pytest.fixture(scope="module")
def made(folder: Path) -> ListeningTest:
    return make_listening_test(systems_of(folder), folder / "dances", folder / "made", seed=5)


@pytest.fixture(scope="module")
def beside(folder: Path) -> ListeningTest:
    return make_listening_test(systems_of(folder), folder / "dances", folder / "beside", seed=5, embed=False)


def embedded(page: Path) -> dict[str, bytes]:
    found = re.findall(r'<script type="text/plain" id="m-([0-9a-f]{16})">([^<]*)</script>', page.read_text())
    return {name: base64.b64decode(content, validate=True) for name, content in found}


def document(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="test">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def key_items(key: Path) -> dict[str, tuple[str, str]]:
    return {
        item: (clip["clip"], system)
        for clip in json.loads(key.read_text())["clips"]
        for item, system in clip["items"].items()
    }


# Making


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
    heard = [loudness(*load_audio(path)) for path in beside.media.iterdir()]
    assert heard == pytest.approx([beside.loudness] * 9, abs=0.3)
    assert document(beside.page)["loudness"] == pytest.approx(beside.loudness, abs=0.051)


def test_loudness_can_be_left_as_it_is(folder: Path) -> None:
    out = folder / "as_is"
    test = make_listening_test(
        systems_of(folder), folder / "dances", out, seed=5, clips=1, embed=False, same_loudness=False
    )
    assert test.loudness is None
    heard = {
        system: loudness(*load_audio(out / "media" / f"{item}.mp4"))
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
    test = make_listening_test({"one": tmp_path / "one"}, tmp_path / "real", tmp_path / "out", embed=False)
    assert test.media is not None
    (path,) = test.media.iterdir()
    assert probe(path).rotation == probe(video).rotation != 0


def test_the_seed_decides_all(made: ListeningTest, folder: Path) -> None:
    again = make_listening_test(systems_of(folder), folder / "dances", folder / "again", seed=5)
    assert again.page.read_bytes() == made.page.read_bytes()
    assert again.key.read_bytes() == made.key.read_bytes()
    other = make_listening_test(systems_of(folder), folder / "dances", folder / "other", seed=6)
    assert other.test != made.test
    assert not set(key_items(other.key)) & set(key_items(made.key))


def test_dances_are_drawn_and_shuffled_by_the_seed(folder: Path) -> None:
    orders = set()
    for seed in range(6):
        out = folder / f"seed{seed}"
        make_listening_test(systems_of(folder), folder / "dances", out, seed=seed, clips=1, embed=False)
        orders.add(tuple(key_items(out / "key.json").values()))
    assert len(orders) >= 4
    assert len({order[0][0] for order in orders}) == 3
    assert len({order[0][1] for order in orders}) >= 2


def test_too_large_a_page_is_refused(folder: Path, made: ListeningTest) -> None:
    out = folder / "large"
    with pytest.raises(UsageError, match=r"--dances-in-test 2 of 3.*--no-embed"):
        make_listening_test(systems_of(folder), folder / "dances", out, seed=5, limit_bytes=made.size - 1)
    assert not out.exists()
    exact = make_listening_test(systems_of(folder), folder / "dances", out, seed=5, limit_bytes=made.size)
    assert exact.size == made.size


def test_a_key_is_never_lost(made: ListeningTest, folder: Path) -> None:
    before = made.key.read_bytes()
    with pytest.raises(UsageError, match=r"key\.json is another test's key"):
        make_listening_test(systems_of(folder), folder / "dances", made.key.parent, seed=6)
    assert made.key.read_bytes() == before
    make_listening_test(systems_of(folder), folder / "dances", made.key.parent, seed=5)


def test_systems_with_videos_of_their_own(tmp_path: Path) -> None:
    for system, size in (("one", (64, 48)), ("two", (80, 64))):
        (tmp_path / system).mkdir()
        write_video(tmp_path / system / "a.mp4", seconds=SECONDS, size=size, sound=clicks(0.5)[0], sound_rate=RATE)
    save_wav(tmp_path / "two" / "b.wav", clicks(0.5), RATE)
    (tmp_path / "one" / "deep").mkdir()
    write_video(tmp_path / "one" / "deep" / "a.mp4", seconds=SECONDS)
    systems = {system: tmp_path / system for system in ("one", "two")}
    test = make_listening_test(systems, None, tmp_path / "out", embed=False)
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
        make_listening_test({}, None, tmp_path / "out")
    with pytest.raises(UsageError, match="lacks a video of zebrafish"):
        make_listening_test(systems, None, tmp_path / "out")
    with pytest.raises(UsageError, match=r"nowhere: no such folder"):
        make_listening_test(systems, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match="can't use 4 dances: 3 have"):
        make_listening_test(systems, folder / "dances", tmp_path / "out", clips=4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="hold no sound and no video"):
        make_listening_test({"none": tmp_path / "empty"}, folder / "dances", tmp_path / "out")
    save_wav(tmp_path / "twice" / "a.wav", clicks(0.5), RATE)
    shutil.copy(tmp_path / "twice" / "a.wav", tmp_path / "twice" / "a.flac")
    with pytest.raises(UsageError, match="same name but for the suffix"):
        make_listening_test({"twice": tmp_path / "twice"}, folder / "dances", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "dances").mkdir()
    write_video(tmp_path / "dances" / "a.mp4", seconds=SECONDS, codec="mpeg4")
    save_wav(tmp_path / "one" / "a.wav", clicks(0.5), RATE)
    with pytest.raises(VideoError, match=r"a\.mp4: its picture is mpeg4"):
        make_listening_test({"one": tmp_path / "one"}, tmp_path / "dances", tmp_path / "out")
    write_video(tmp_path / "dances" / "a.mp4", seconds=SECONDS)
    (tmp_path / "one" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"a\.wav"):
        make_listening_test({"one": tmp_path / "one"}, tmp_path / "dances", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_silence_is_noted_and_kept(tmp_path: Path) -> None:
    (tmp_path / "dances").mkdir()
    write_video(tmp_path / "dances" / "a.mp4", seconds=SECONDS)
    save_wav(tmp_path / "one" / "a.wav", np.zeros((1, round(SECONDS * RATE)), np.float32), RATE)
    test = make_listening_test({"one": tmp_path / "one"}, tmp_path / "dances", tmp_path / "out")
    assert test.notes == ("one, a: silence, or too short to have a loudness",)
    assert test.items == 1


def tone(level: float, seconds: float, pitch: float, channels: int) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.tile(10 ** (level / 20) * np.sin(2 * np.pi * pitch * times), (channels, 1)).astype(np.float32)


def test_loudness_is_that_of_the_standards() -> None:
    # BS.1770: 997 Hz at full scale in one channel is -3.01. EBU Tech 3341, cases 1 and 3 (shorter): -23.0 both.
    assert loudness(tone(0.0, 5.0, 997.0, 1), RATE) == pytest.approx(-3.01, abs=0.02)
    assert loudness(tone(-23.0, 5.0, 1000.0, 2), RATE) == pytest.approx(-23.0, abs=0.1)
    parts = [tone(level, seconds, 1000.0, 2) for level, seconds in ((-36.0, 1.0), (-23.0, 30.0), (-36.0, 1.0))]
    assert loudness(np.concatenate(parts, axis=1), RATE) == pytest.approx(-23.0, abs=0.1)
    times = np.arange(3 * 32000) / 32000
    other_rate = 0.1 * np.sin(2 * np.pi * 997 * times).astype(np.float32)[None]
    assert loudness(other_rate, 32000) == pytest.approx(-23.01, abs=0.02)
    assert loudness(np.zeros((2, RATE), np.float32), RATE) is None
    assert loudness(tone(0.0, 0.39, 997.0, 1), RATE) is None
    assert loudness(tone(0.0, 0.40, 997.0, 1), RATE) is not None


# Reading

Rate = Callable[[str, str], tuple[int, int]]


def plain_key(path: Path, systems: int = 2, clips: int = 2, repeat: bool = False) -> Path:
    """A key whose items are called c0s0, c0s1, ... by clip and system."""
    names = [f"system {number}" for number in range(systems)]
    content = {
        "format": "d2m-listening-key",
        "version": 1,
        "test": "0123456789abcdef",
        "repeat": repeat,
        "systems": names,
        "clips": [
            {"clip": f"clip {clip}", "items": {f"c{clip}s{number}": name for number, name in enumerate(names)}}
            for clip in range(clips)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def answer(item: str, coherence: Any, quality: Any, repeat: Any = False, **other: Any) -> dict[str, Any]:
    line = {"item": item, "repeat": repeat, "coherence": coherence, "quality": quality, "plays": 1, "problem": None}
    return {**line, **other}


def answers(participant: str, ratings: list[dict[str, Any]], /, **other: Any) -> dict[str, Any]:
    return {
        "format": "d2m-listening-result",
        "version": 1,
        "test": "0123456789abcdef",
        "participant": participant,
        "started": "2026-05-01T10:00:00.000Z",
        "finished": "2026-05-01T10:20:00.000Z",
        "ratings": ratings,
        **other,
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


def table_files(folder: Path, table: np.ndarray) -> list[Path]:
    """A file for each participant from (participants, clips, systems) ratings; quality is 6 less coherence."""
    return [
        write(
            folder / f"{person}.json",
            answers(
                f"p{person}",
                [
                    answer(f"c{clip}s{system}", int(value), 6 - int(value))
                    for (clip, system), value in np.ndenumerate(values)
                ],
            ),
        )
        for person, values in enumerate(table)
    ]


def scores_of(folder: Path, table: np.ndarray, **options: Any) -> Scores:
    key = plain_key(folder / "key.json", table.shape[2], table.shape[1])
    return read_results(table_files(folder, table), key, **options)


def test_means_and_differences_by_hand(tmp_path: Path) -> None:
    # Two people, two clips; system 0 gets 4, 5, 3, 5 and system 1 gets 2, 3, 2, 2.
    scores = scores_of(tmp_path, np.array([[[4, 2], [5, 3]], [[3, 2], [5, 2]]]))
    assert (scores.participants, scores.clips) == (2, 2)
    found = {(one.system, one.scale): one for one in scores.opinions}
    assert list(found) == [(system, scale) for system in ("system 0", "system 1") for scale in ("coherence", "quality")]
    assert found["system 0", "coherence"].mean == 17 / 4
    assert found["system 1", "coherence"].mean == 9 / 4
    assert found["system 0", "quality"].mean == 6 - 17 / 4
    assert all((one.ratings, one.participants, one.clips) == (4, 2, 2) for one in scores.opinions)
    # The differences are 2, 2, 1, 3: people's means 2 and 2, clips' means 1.5 and 2.5.
    one = scores.differences[0]
    assert (one.first, one.second, one.scale, one.mean, one.pairs) == ("system 0", "system 1", "coherence", 2.0, 4)
    assert one.verdict == "system 0 is rated higher"
    assert scores.differences[1].mean == -2.0
    assert scores.differences[1].verdict == "system 1 is rated higher"


def test_interval_of_two_people_by_hand(tmp_path: Path) -> None:
    # One always says 1, one always 5: a draw of both means 1 (one in four), 3 (two in four) or 5 (one in four).
    scores = scores_of(tmp_path, np.array([[[1], [1]], [[5], [5]]]))
    assert (scores.opinions[0].mean, scores.opinions[0].low, scores.opinions[0].high) == (3.0, 1.0, 5.0)
    # The same in clips instead of people.
    scores = scores_of(tmp_path, np.array([[[1], [5]], [[1], [5]]]))
    assert (scores.opinions[0].low, scores.opinions[0].high) == (1.0, 5.0)
    # All agree.
    scores = scores_of(tmp_path, np.full((2, 2, 1), 4))
    assert (scores.opinions[0].low, scores.opinions[0].high) == (4.0, 4.0)


def test_interval_is_that_of_all_draws_of_people_and_clips() -> None:
    table = np.random.default_rng(4).normal(3.0, 1.0, (4, 4))
    table[1, 2] = np.nan
    draws = np.array(list(itertools.product(range(4), repeat=4)))
    tables = table[draws[:, None, :, None], draws[None, :, None, :]].reshape(-1, 16)
    drawn = [row[np.isfinite(row)].mean() for row in tables if np.isfinite(row).any()]
    found = crossed_bootstrap(table[:, :, None], 40000, seed=1)
    assert [found.low[0], found.high[0]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)


def test_intervals_hold_for_other_people_and_other_dances() -> None:
    """Where dances differ as much as people, 95 % must hold; the usual interval over people alone does not."""
    rng = np.random.default_rng(0)
    people, clips, trials = 40, 10, 150
    crossed = usual = 0
    for trial in range(trials):
        table = rng.normal(0.0, 0.4, (people, 1)) + rng.normal(0.0, 0.4, clips) + rng.normal(0.0, 0.8, (people, clips))
        found = crossed_bootstrap(table[:, :, None], 400, trial)
        crossed += found.low[0] <= 0.0 <= found.high[0]
        means = table.mean(axis=1)
        usual += abs(means.mean()) <= 2.02 * means.std(ddof=1) / people**0.5
    assert crossed / trials > 0.88
    assert usual / trials < 0.80


def test_no_difference_where_zero_is_inside(tmp_path: Path) -> None:
    table = np.array([[[3, 4], [4, 3]], [[5, 4], [2, 3]]])
    one = scores_of(tmp_path, table).differences[0]
    assert one.mean == 0.0
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0.0 < one.high
    assert one.verdict == "no difference shown"
    # Zero at the very end of the interval shows none either.
    even = scores_of(tmp_path, np.full((3, 3, 2), 4)).differences[0]
    assert (even.low, even.high, even.verdict) == (0.0, 0.0, "no difference shown")


def test_pairs_cancel_what_people_share(tmp_path: Path) -> None:
    """People of very different taste who agree on the difference: wide scores, a narrow difference."""
    mild = np.array([2, 3, 4, 5, 2, 5])[:, None, None] - np.array([0, 1])
    scores = scores_of(tmp_path, np.tile(mild, (1, 3, 1)))
    assert scores.opinions[0].high - scores.opinions[0].low > 1.0
    one = scores.differences[0]
    assert (one.mean, one.low, one.high) == (1.0, 1.0, 1.0)


def test_one_person_or_one_clip_has_no_interval(tmp_path: Path) -> None:
    for shape in ((1, 3, 2), (3, 1, 2)):
        scores = scores_of(tmp_path, np.full(shape, 3))
        assert all(one.mean == 3.0 and one.low is None and one.high is None for one in scores.opinions)
        assert {one.verdict for one in scores.differences} == {"too few ratings to tell"}


def test_unplayed_items_count_nowhere(tmp_path: Path) -> None:
    files = table_files(tmp_path, np.array([[[4, 2], [5, 3]], [[3, 2], [5, 2]]]))
    first = json.loads(files[0].read_text())
    first["ratings"][0] = answer("c0s0", None, None, problem="it did not load", plays=0)
    write(files[0], first)
    scores = read_results(files, plain_key(tmp_path / "key.json"))
    assert scores.opinions[0].mean == pytest.approx((5 + 3 + 5) / 3)
    assert scores.opinions[0].ratings == 3
    assert scores.differences[0].mean == pytest.approx((2 + 1 + 3) / 3)
    assert scores.differences[0].pairs == 3
    (one,) = scores.unplayed
    assert (one.participant, one.clip, one.system, one.reason) == ("p0", "clip 0", "system 0", "it did not load")


def test_nothing_rated_has_no_mean(tmp_path: Path) -> None:
    ratings = [answer(f"c{clip}s{system}", None, None, problem="no", plays=0) for clip in (0, 1) for system in (0, 1)]
    scores = read_results([write(tmp_path / "a.json", answers("a", ratings))], plain_key(tmp_path / "key.json"))
    assert {one.mean for one in scores.opinions} == {None}
    assert {one.mean for one in scores.differences} == {None}


def test_repeats_tell_how_steady_people_are_and_count_once(tmp_path: Path) -> None:
    key = plain_key(tmp_path / "key.json", repeat=True)
    ratings = [answer("c0s0", 4, 4), answer("c0s1", 2, 2), answer("c1s0", 4, 4), answer("c1s1", 2, 2)]
    content = answers("a", [*ratings, answer("c0s0", 1, 5, repeat=True)])
    scores = read_results([write(tmp_path / "a.json", content)], key)
    assert scores.opinions[0].mean == 4.0
    (one,) = scores.repeats
    assert (one.clip, one.system, one.coherence, one.quality) == ("clip 0", "system 0", -3, 1)
    without = write(tmp_path / "b.json", answers("b", ratings))
    both = read_results([tmp_path / "a.json", without], key)
    assert both.refused[0].reason == "holds 0 repeated items instead of 1"


@pytest.mark.parametrize("first_is_later", [True, False])
def test_of_two_files_the_last_one_finished_counts(tmp_path: Path, first_is_later: bool) -> None:
    key = plain_key(tmp_path / "key.json", systems=1, clips=1)
    early = write(tmp_path / "z.json", answers("Anna", [answer("c0s0", 1, 1)]))
    content = answers("anna ", [answer("c0s0", 5, 5)], finished="2026-05-01T12:21:00+02:00")
    late = write(tmp_path / "a.json", content)
    scores = read_results([late, early] if first_is_later else [early, late], key)
    assert (scores.participants, scores.opinions[0].mean) == (1, 5.0)
    (one,) = scores.replaced
    assert one.path == early
    assert one.reason == f"Anna finished {late} later"


GOOD = [answer("c0s0", 4, 3), answer("c1s0", 2, 5)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "is no file of answers"),
        ([], "is no file of answers"),
        ("{", "is no JSON"),
        (answers("a", GOOD, format="d2m-listening-key"), "is no file of answers"),
        (answers("a", GOOD, version=2), "is of version 2"),
        (answers("a", GOOD, test="fedcba9876543210"), "answers test fedcba9876543210, not 0123456789abcdef"),
        (answers(" ", GOOD), "names no participant"),
        (answers("a", GOOD, participant=7), "names no participant"),
        (answers("a", GOOD, started="yesterday"), "does not say when it was started"),
        (answers("a", GOOD, finished=None), "does not say when it was finished"),
        (answers("a", GOOD, finished="2026-05-01T10:20:00"), "does not say in which time zone"),
        (answers("a", GOOD, finished="2026-05-01T09:20:00Z"), "was finished before it was started"),
        (answers("a", GOOD, ratings={}), "holds no list of ratings"),
        (answers("a", GOOD[:1]), "lacks 1 of 2 items"),
        (answers("a", [*GOOD, GOOD[0]]), "rates item c0s0 more than once"),
        (answers("a", [*GOOD, answer("c9s0", 1, 1)]), "rates 'c9s0', which is not in this test"),
        (answers("a", [*GOOD, answer("c0s0", 1, 1, repeat=True)]), "holds 1 repeated items instead of 0"),
        (answers("a", [GOOD[0], answer("c1s0", 1, 1, repeat="no")]), "whether item c1s0 is a repeat"),
        (answers("a", [GOOD[0], answer("c1s0", 0, 3)]), "rated 0 and 3"),
        (answers("a", [GOOD[0], answer("c1s0", 3, 6)]), "rated 3 and 6"),
        (answers("a", [GOOD[0], answer("c1s0", 3.5, 3)]), "rated 3.5 and 3"),
        (answers("a", [GOOD[0], answer("c1s0", True, 3)]), "rated True and 3"),
        (answers("a", [GOOD[0], answer("c1s0", "4", 3)]), "rated '4' and 3"),
        (answers("a", [GOOD[0], answer("c1s0", None, None)]), "rated None and None"),
        (answers("a", [GOOD[0], answer("c1s0", 3, 3, problem="no sound")]), "rated 3 and 3"),
        (answers("a", [GOOD[0], answer("c1s0", 3, 3, plays=0)]), "was not played to its end"),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, content: Any, reason: str) -> None:
    key = plain_key(tmp_path / "key.json", systems=1)
    good = write(tmp_path / "good.json", answers("good", GOOD))
    bad = tmp_path / "bad.json"
    bad.write_text(content if isinstance(content, str) else json.dumps(content))
    scores = read_results([good, bad], key)
    assert scores.participants == 1
    (one,) = scores.refused
    assert one.path == bad
    assert reason in one.reason
    with pytest.raises(InputError, match=r"no file of answers can be used: .*bad\.json: "):
        read_results([bad], key)


def test_files_and_keys_that_are_none(tmp_path: Path) -> None:
    key = plain_key(tmp_path / "key.json", systems=1)
    good = write(tmp_path / "good.json", answers("good", GOOD))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.json").write_text("[" * 100000)
    scores = read_results([good, tmp_path / "missing.json", tmp_path / "binary.json", tmp_path / "deep.json"], key)
    assert [one.reason.split(" (")[0] for one in scores.refused] == ["can't be read", "is no JSON", "is no JSON"]
    with pytest.raises(InputError, match="none was given"):
        read_results([], key)
    with pytest.raises(InputError, match=r"good\.json: is no key of a listening test"):
        read_results([good], good)
    broken = json.loads(key.read_text())
    del broken["clips"][0]["items"]["c0s0"]
    with pytest.raises(InputError, match=r"damaged key .*1 items for 1 systems and 2 dances"):
        read_results([good], write(tmp_path / "broken.json", broken))


def test_rows_and_json(tmp_path: Path) -> None:
    scores = scores_of(tmp_path, np.array([[[4, 2], [5, 3]], [[3, 2], [5, 2]]]))
    first, second = scores.rows()
    assert list(first) == [
        "system",
        *("coherence", "coherence_low", "coherence_high", "coherence_ratings", "coherence_participants"),
        *("quality", "quality_low", "quality_high", "quality_ratings", "quality_participants"),
    ]
    assert (first["system"], first["coherence"], second["quality"]) == ("system 0", 4.25, 3.75)
    content = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert content["differences"][0]["verdict"] == "system 0 is rated higher"
    assert content["opinions"][0]["mean"] == 4.25


def test_the_seed_decides_the_intervals(tmp_path: Path) -> None:
    table = np.random.default_rng(3).integers(1, 6, (6, 5, 2))
    assert scores_of(tmp_path, table, seed=1) == scores_of(tmp_path, table, seed=1)
    assert scores_of(tmp_path, table, seed=1) != scores_of(tmp_path, table, seed=2)


# What the page decides, without a browser

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script")


def run_logic(page: Path, code: str) -> Any:
    found = re.search(r'<script id="logic">(.*?)</script>', page.read_text(), re.S)
    assert found
    text = f"{found[1]}\nconst test = {json.dumps(document(page))};\nconsole.log(JSON.stringify((() => {{{code}}})()));"
    done = subprocess.run(["node", "-"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_each_person_gets_an_order_of_their_own(made: ListeningTest) -> None:
    people = [f"p{number}" for number in range(300)]
    code = f"return {json.dumps(people)}.map((one) => orderFor(test, one));"
    orders = run_logic(made.page, code)
    assert run_logic(made.page, code) == orders
    items = key_items(made.key)
    starts, firsts, seconds = [], [], []
    for order in orders:
        shown = [items[screen["item"]] for screen in order]
        assert sorted(shown[:-1]) == sorted(items.values())
        assert [screen["repeat"] for screen in order] == [False] * 9 + [True]
        assert order[-1]["item"] in [screen["item"] for screen in order[:4]]
        dances = [dance for dance, _ in shown[:-1]]
        assert [len(list(same)) for _, same in itertools.groupby(dances)] == [3, 3, 3]
        starts.append(shown[0])
        firsts.append(tuple(system for _, system in shown[:3]))
        seconds.append(shown[-1])
    # 300 draws: 33 +- 5.4 for each of nine, 50 +- 6.5 for each of six.
    assert all(12 <= starts.count(item) <= 55 for item in items.values())
    assert all(24 <= firsts.count(order) <= 76 for order in itertools.permutations(SYSTEMS))
    assert len(set(seconds)) == 9


@needs_node
def test_what_keeps_a_person_on_a_screen(made: ListeningTest) -> None:
    found = run_logic(
        made.page,
        """
        const answer = { coherence: null, quality: null, plays: 0, problem: null };
        return [
          lacking(answer), lacking({ ...answer, plays: 1 }), lacking({ ...answer, coherence: 3, quality: 1 }),
          lacking({ ...answer, plays: 2, coherence: 1, quality: 5 }), lacking({ ...answer, problem: "no" }),
          covers([[0, 4], [4, 10]], 10), covers([[8, 10]], 10), covers([], 10), covers([[0, 9.7]], 10),
          fileNameOf(test, "Zoë / 7"), testLevel(-17.4), testLevel(-37.4),
        ];
        """,
    )
    play, dance, music = "play the clip to its end", "rate music and dance", "rate the quality of the music"
    assert found[:5] == [[play, dance, music], [dance, music], [play], [], []]
    assert found[5:9] == [True, False, False, True]
    assert found[9] == f"ratings-{made.test[:6]}-Zo_7.json"
    assert found[10:] == pytest.approx([1.0, 0.1])


@needs_node
def test_the_page_makes_what_is_read(made: ListeningTest, tmp_path: Path) -> None:
    """Ratings that follow from the item come out under its system; one item could not be played."""
    items = key_items(made.key)
    ratings = {item: [1 + SYSTEMS.index(system), 5 - SYSTEMS.index(system)] for item, (_, system) in items.items()}
    lost = next(item for item, pair in items.items() if pair == (DANCES[0], SYSTEMS[2]))
    code = f"""
        const ratings = {json.dumps(ratings)};
        const state = newState(test, "anna", "2026-05-01T10:00:00.000Z");
        for (const answer of state.answers) {{
          [answer.coherence, answer.quality] = ratings[answer.item];
          answer.plays = 1;
          if (answer.item === "{lost}") answer.problem = "it did not load";
        }}
        const half = stateFrom(test, JSON.stringify(state));
        half.finished = "2026-05-01T10:20:00.000Z";
        const foreign = stateFrom({{ ...test, test: "x" }}, JSON.stringify(state));
        return [resultOf(test, half), doneCount(half), stateFrom(test, "{{"), foreign];
    """
    result, count, rubbish, other = run_logic(made.page, code)
    assert (count, rubbish, other) == (10, None, None)
    assert result["scale"]["best"] == 5
    scores = read_results([write(tmp_path / "anna.json", result)], made.key)
    assert scores.test == made.test
    assert [row["coherence"] for row in scores.rows()] == [1.0, 2.0, 3.0]
    assert [row["quality"] for row in scores.rows()] == [5.0, 4.0, 3.0]
    assert [row["quality_ratings"] for row in scores.rows()] == [3, 3, 2]
    assert [(one.clip, one.system) for one in scores.unplayed] == [(DANCES[0], SYSTEMS[2])]


# The page in a browser

chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")


class Browser:
    """As much of the WebDriver protocol as a participant needs."""

    def __init__(self, driver: str, folder: Path) -> None:
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            "--disable-component-update --disable-sync --mute-audio"
        )
        options = {
            "binary": chromium,
            "args": [*flags.split(), f"--user-data-dir={folder / 'profile'}"],
            "prefs": {"download.default_directory": str(folder / "downloads")},
        }
        self.address = driver
        content = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.address += f"/session/{self.ask('/session', content)['sessionId']}"

    def ask(self, path: str, content: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def open(self, page: Path) -> None:
        self.ask("/url", {"url": page.as_uri()})

    def js(self, code: str) -> Any:
        return self.ask("/execute/sync", {"script": code, "args": []})

    def click(self, selector: str) -> None:
        found = self.ask("/element", {"using": "css selector", "value": selector})
        self.ask(f"/element/{next(iter(found.values()))}/click", {})

    def wait(self, condition: str) -> None:
        end = time.monotonic() + 60.0
        while not self.js(f"return {condition}"):
            assert time.monotonic() < end, condition
            time.sleep(0.05)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if chromium is None or chromedriver is None:
        pytest.skip("no chromium and chromedriver (Debian: chromium, chromium-driver)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "downloads").mkdir()
    driver = subprocess.Popen([chromedriver, f"--port={port}", "--silent"], env={**os.environ, "HOME": str(tmp_path)})
    try:
        for _ in range(200):
            with socket.socket() as probe_socket:
                if probe_socket.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        one = Browser(f"http://127.0.0.1:{port}", tmp_path)
        yield one
        one.ask("", method="DELETE")
    finally:
        driver.terminate()
        driver.wait(20)


def begin(browser: Browser, page: Path, participant: str) -> None:
    browser.open(page)
    browser.js(f"document.getElementById('participant').value = '{participant}'")
    browser.click("#consent")
    browser.click("#begin button")
    browser.click("#sound-next")
    assert browser.js("return document.getElementById('item').hidden")
    browser.click("#sound-play")
    browser.click("#sound-heard")
    browser.click("#sound-next")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["made", "beside"])
def test_a_person_goes_through_the_whole_page(
    kind: str, request: pytest.FixtureRequest, browser: Browser, tmp_path: Path
) -> None:
    test: ListeningTest = request.getfixturevalue(kind)
    items = key_items(test.key)
    begin(browser, test.page, "anna")
    for position in range(10):
        browser.wait("!document.getElementById('play').disabled")
        assert browser.js("return state.position") == position
        browser.click("#next")
        assert browser.js("return state.position") == position
        number = SYSTEMS.index(items[browser.js("return answer().item")][1])
        browser.click(f"input[name=coherence][value='{5 - number}']")
        browser.click(f"input[name=quality][value='{1 + number}']")
        browser.click("#next")
        assert browser.js("return state.position") == position
        if position == 0:
            # A jump to the end is not listening.
            browser.js("video.currentTime = video.duration - 0.1")
            browser.click("#play")
            browser.wait("video.ended")
            assert browser.js("return answer().plays") == 0
        browser.click("#play")
        browser.wait("answer().plays > 0")
        if position == 3:
            browser.click("#back")
            assert browser.js("return document.querySelector('input[name=quality]:checked').value") is not None
            browser.click("#next")
            browser.open(test.page)
            browser.click("#resume-go")
        browser.click("#next")
    downloads = tmp_path / "downloads"
    name = f"ratings-{test.test[:6]}-anna.json"
    end = time.monotonic() + 20.0
    while not (downloads / name).exists():
        assert time.monotonic() < end, list(downloads.iterdir())
        time.sleep(0.1)
    assert (downloads / name).read_text() == browser.js("return document.getElementById('result').value")
    scores = read_results([downloads / name], test.key)
    assert [(row["system"], row["coherence"], row["quality"]) for row in scores.rows()] == [
        ("zebrafish", 5.0, 1.0),
        ("wolverine", 4.0, 2.0),
        ("tarantula", 3.0, 3.0),
    ]
    assert [(one.coherence, one.quality) for one in scores.repeats] == [(0, 0)]
    assert not scores.unplayed


@pytest.mark.slow
def test_a_clip_that_can_not_be_played_is_said_and_skipped(
    made: ListeningTest, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "index.html"
    rubbish = base64.b64encode(b"no video" * 100).decode()
    page.write_text(re.sub(r'(<script type="text/plain"[^>]*>)[^<]*', rf"\g<1>{rubbish}", made.page.read_text()))
    begin(browser, page, "bob")
    for _ in range(10):
        browser.wait("!document.getElementById('trouble').hidden")
        assert "does not know its format" in browser.js("return document.getElementById('trouble-text').textContent")
        assert browser.js("return document.getElementById('play').disabled")
        browser.click("#skip")
    result = json.loads(browser.js("return document.getElementById('result').value"))
    assert all(line["problem"] and line["coherence"] is None for line in result["ratings"])
    scores = read_results([write(tmp_path / "bob.json", result)], made.key)
    assert len(scores.unplayed) == 9
