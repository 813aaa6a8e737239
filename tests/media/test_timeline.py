"""Timelines of ordinary files that are easily read wrongly, and of hostile ones."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import VideoError
from d2m_cli.media.messages import pack, unpack
from d2m_cli.media.video import VideoReader, probe

MakeVideo = Callable[..., Path]
SHARED = Path(os.environ.get("D2M_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.mark.parametrize(
    ("name", "count", "first", "last", "seconds"),
    [
        ("cases/base.mp4", 120, 0.0, 119 / 30, 4.0),
        ("cases/camcorder_gop.ts", 120, 0.0232, 0.0232 + 119 / 30, 4.0232),
        ("cases/trim_editlist.mp4", 122, 0.0, 121 / 30, 4.067),
        ("cases/camcorder.mpg", 50, 0.0109, 0.0109 + 49 / 25, 2.0109),
        ("cases/xvid_bframes.avi", 90, 0.0, 89 / 30, 3.0),
        ("cases/alpha.webm", 120, 0.007, 3.974, 4.007),
        ("cases/cover_first.mp4", 120, 0.0, 119 / 30, 4.0),
        ("cases/two_streams.mp4", 120, 0.0, 119 / 30, 4.0),
        ("cases/vfr.mp4", 75, 0.0, 3.9, 3.9333),
        ("cases/mirror.mp4", 120, 0.0, 119 / 30, 4.0),
        ("cases/fullrange.mkv", 60, 0.0, 1.967, 2.0),
        ("cases/sorenson.flv", 60, 0.05, 2.017, 2.05),
        ("damaged/offset1h.mkv", 6, 0.0, 0.167, 0.2),
        ("damaged/valid_vp9.webm", 60, 0.0, 2.461, 2.503),
    ],
)
def test_ordinary_files(name: str, count: int, first: float, last: float, seconds: float) -> None:
    path = shared(name)
    timeline = probe(path)
    assert timeline.frames == count
    assert timeline.times[[0, -1]] == pytest.approx([first, last], abs=0.001)
    assert timeline.duration == pytest.approx(seconds, abs=0.002)
    times = np.concatenate([chunk.times for chunk in VideoReader(path, longest=64, timeline=timeline)])
    np.testing.assert_array_equal(times, timeline.times)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cases/photo.jpg", "is a picture"),
        ("damaged/ffc_loop.mp4", "refers to other files"),
        ("damaged/header_sigabrt_minimal.mp4", "1124073478 pictures"),
        ("damaged/jump20d.mkv", "picture 3 of 6 would stand for 1700000 s"),
    ],
)
def test_hostile_files_fail_at_once(name: str, reason: str) -> None:
    path = shared(name)
    begun = time.monotonic()
    with pytest.raises(VideoError, match=reason) as caught:
        probe(path)
    assert str(caught.value).count(path.name) == 1
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n", "HLS"),
        (b"ffconcat version 1.0\nfile 'a.mp4'\n", "FFmpeg"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", "SDP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (struct.pack(">I4s", 20, b"ftyp") + b"isom" + bytes(8), "no index"),
        (struct.pack(">I4s", 20, b"ftyp") + b"isom" + bytes(8) + struct.pack(">I4s", 900, b"mdat"), "truncated"),
    ],
)
def test_the_reason_is_the_true_one(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        probe(path)


def test_a_fifo_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="not a file"):
        probe(tmp_path / "a.mp4")


def test_a_timeline_survives_the_way_between_processes(make_video: MakeVideo, tmp_path: Path) -> None:
    timeline = probe(make_video(tmp_path / "a.mp4", seconds=1, sound=np.zeros(44100)))
    again = unpack(*pack(timeline))
    for name in ("times", "order"):
        np.testing.assert_array_equal(getattr(again, name), getattr(timeline, name))
    assert (again.colour, again.orientation, again.time_base, again.duration, again.audio_start) == (
        timeline.colour,
        timeline.orientation,
        timeline.time_base,
        timeline.duration,
        timeline.audio_start,
    )
