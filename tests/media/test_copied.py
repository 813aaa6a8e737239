from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from d2m_cli.media.mux import mux
from d2m_cli.media.orientation import Orientation
from d2m_cli.media.timeline_reading import read_timeline
from tests.media.films import (
    CASES,
    clicks,
    greys,
    needs_cases,
    packet_bytes,
    stamps,
    tags,
)


def test_reordered_frames_in_an_avi_are_copied_in_the_order_of_the_decoder(make_video, tmp_path: Path) -> None:
    # Each is 10 brighter than the last; the container tells neither time nor order.
    video = make_video(tmp_path / "a.avi", seconds=1, codec="mpeg4", options={"bf": "2"})
    result = mux(video, clicks(44100, 1.0), 44100, tmp_path / "out.mp4")
    assert result.copied
    assert packet_bytes(result.path) == packet_bytes(video)
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], np.arange(25) / 25, atol=1e-3)
    np.testing.assert_allclose(greys(result.path), np.arange(25) * 10, atol=8)
    assert greys(result.path) == greys(video)


@needs_cases
@pytest.mark.parametrize(
    ("name", "frames", "first", "seconds"),
    [
        ("trim_editlist.mp4", 122, 0.0, 4.067),
        ("camcorder_gop.ts", 120, 0.023, 4.023),
        ("camcorder.mpg", 50, 0.011, 2.011),
        ("vfr.mp4", 75, 0.0, 3.933),
        ("fullrange.mkv", 60, 0.0, 2.0),
        ("mirror.mp4", 120, 0.0, 4.0),
        ("two_streams.mp4", 120, 0.0, 4.0),
        ("cover_first.mp4", 120, 0.0, 4.0),
        ("xvid_bframes.avi", 90, 0.0, 3.0),
        ("alpha.webm", 120, 0.007, 4.007),
    ],
)
def test_ordinary_files_are_copied_in_step(
    name: str, frames: int, first: float, seconds: float, tmp_path: Path
) -> None:
    result = mux(CASES / name, np.zeros((2, round(seconds * 44100)), np.float32), 44100, tmp_path / "out.mp4")
    assert result.note == "picture copied"
    made, source = read_timeline(result.path), read_timeline(CASES / name)
    assert made.frames == frames
    assert made.times[0] == pytest.approx(first, abs=0.001)
    assert made.duration == pytest.approx(seconds, abs=0.001)
    assert result.seconds == pytest.approx(seconds, abs=0.001)
    np.testing.assert_allclose(made.times, source.times, rtol=0, atol=0.001)
    assert (made.width, made.height, made.orientation) == (360, 480, Orientation(0, name == "mirror.mp4"))
    assert made.colour == source.colour
    if name == "fullrange.mkv":
        assert tags(result.path) == ("yuvj420p", 2, 1, 1, 1)


@needs_cases
def test_the_hidden_beginning_of_a_trimmed_film_stays_hidden(tmp_path: Path) -> None:
    mux(CASES / "trim_editlist.mp4", np.zeros((1, 179340), np.float32), 44100, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert sum(packet.is_discard for packet in packets) == 42
        assert sum(packet.is_discard and packet.pts >= 0 for packet in packets) == 0
    assert greys(tmp_path / "out.mp4") == greys(CASES / "trim_editlist.mp4")


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv"])
def test_hevc_gets_the_tag_that_all_players_take(make_video, tmp_path: Path, name: str) -> None:
    options = {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}
    video = make_video(tmp_path / name, seconds=0.6, codec="libx265", options=options)
    result = mux(video, clicks(44100, 0.6), 44100, tmp_path / "out.mp4")
    assert result.copied
    with av.open(str(result.path)) as container:
        assert container.streams.video[0].codec_tag == "hvc1"
    assert greys(result.path) == greys(video)


def test_packets_without_decoding_times_are_copied(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mkv", seconds=1)
    with av.open(str(video)) as container:
        assert any(packet.dts is None for packet in container.demux(video=0) if packet.size)
    result = mux(video, clicks(44100, 1.0), 44100, tmp_path / "out.mp4")
    assert result.copied
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], np.arange(25) / 25, atol=1e-3)
    with av.open(str(result.path)) as container:
        decoded = [packet.dts for packet in container.demux(video=0) if packet.size]
    assert all(b > a for a, b in pairwise(decoded))


def test_joined_recordings_follow_each_other(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.ts", seconds=1)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(video.read_bytes() * 2)
    result = mux(joined, clicks(44100, 2.0), 44100, tmp_path / "out.mp4")
    assert result.copied
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], np.arange(50) / 25, atol=1e-3)
    assert greys(result.path) == greys(video) * 2
    assert result.seconds == pytest.approx(2.0, abs=0.001)
