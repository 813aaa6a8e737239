"""Every kind of video: each shown picture comes once, in order, at its time and the right way up."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest

from d2m_cli.media.video import VideoReader, probe
from tests.media.made_video import MadeVideo
from tests.media.made_videos import each_kind
from tests.media.pattern import read

EXACT = 1e-6
"""Seconds allowed on top for floats."""


@pytest.mark.parametrize("decoder", ["pyav", "auto"])
@pytest.mark.parametrize("kind", each_kind())
def test_every_picture_at_its_true_time(made: Callable[[str], MadeVideo], kind: str, decoder: str) -> None:
    video = made(kind)
    reader = VideoReader(video.path, decoder=decoder)
    numbers, orientations, times, start = [], set(), [], 0
    for chunk in reader:
        assert chunk.start == start
        assert chunk.frames.shape[1:] == (*video.size[::-1], 3)
        start += len(chunk.frames)
        times.append(chunk.times)
        for picture in chunk.frames:
            number, orientation = read(picture)
            numbers.append(number)
            orientations.add(orientation)
    assert tuple(numbers) == video.numbers
    assert orientations == {video.orientation}
    np.testing.assert_allclose(np.concatenate(times), video.times, rtol=0, atol=video.tolerance + EXACT)


@pytest.mark.parametrize("kind", each_kind())
def test_length_and_size(made: Callable[[str], MadeVideo], kind: str) -> None:
    video = made(kind)
    info = probe(video.path)
    assert (info.width, info.height) == video.size
    assert info.duration == pytest.approx(video.seconds, abs=video.seconds_tolerance + EXACT)


@pytest.mark.parametrize("decoder", ["pyav", "auto"])
@pytest.mark.parametrize("kind", ["mp4-x264", "mkv-x265", "mpg-mpeg2video", "gif-gif"])
def test_scaled_pictures_are_the_same_ones(made: Callable[[str], MadeVideo], kind: str, decoder: str) -> None:
    video = made(kind)
    chunks = list(VideoReader(video.path, longest=80, chunk=7, decoder=decoder))
    assert {chunk.frames.shape[1:] for chunk in chunks} == {(64, 80, 3)}
    assert tuple(read(picture)[0] for chunk in chunks for picture in chunk.frames) == video.numbers


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord is not installed")
def test_decord_reads_plain_files_alone(made: Callable[[str], MadeVideo]) -> None:
    assert VideoReader(made("mp4-x264").path).decoder == "decord"
    for kind in ("ts-x264", "m2ts-x264", "mpg-mpeg2video", "vob-mpeg2video", "avi-mpeg4", "mp4-trimmed"):
        assert VideoReader(made(kind).path).decoder.startswith("pyav ("), kind
