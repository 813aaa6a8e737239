"""Of how many frames one is taken."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from d2m_cli.media.video import FrameChunk
from d2m_cli.pose.thinned import thinned, thinning


def chunks(times: np.ndarray, size: int) -> Iterator[FrameChunk]:
    frames = np.arange(len(times), dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 3), np.uint8)
    for start in range(0, len(times), size):
        yield FrameChunk(frames[start : start + size], times[start : start + size], start)


@pytest.mark.parametrize(
    ("fps", "every"),
    [(5, 1), (24, 1), (30, 1), (48, 1), (50, 2), (60000 / 1001, 2), (60, 2), (100, 4), (120, 4), (240, 9)],
)
def test_25_to_50_a_second_are_left(fps: float, every: int) -> None:
    assert thinning(fps) == every
    assert fps < 50 or 25 <= fps / every < 50


@pytest.mark.parametrize("size", [1, 3, 8, 50])
def test_every_second_frame_of_60_a_second_with_its_own_time(size: int) -> None:
    times = np.round(np.arange(31) / 60, 3)  # whole milliseconds, as some files have them
    taken = list(thinned(chunks(times, size), 60.0))
    np.testing.assert_array_equal(np.concatenate([chunk.times for chunk in taken]), times[::2])
    np.testing.assert_array_equal(np.concatenate([chunk.frames[:, 0, 0, 0] for chunk in taken]), np.arange(0, 31, 2))
    starts = [chunk.start for chunk in taken]
    assert starts == np.cumsum([0, *(len(chunk.times) for chunk in taken)])[:-1].tolist()


def test_where_a_video_has_few_frames_all_are_taken() -> None:
    times = np.concatenate([np.arange(10) / 60, 10 / 60 + np.arange(5) / 20])
    (chunk,) = thinned(chunks(times, 50), 60.0)
    np.testing.assert_array_equal(chunk.times, np.concatenate([times[:10:2], times[10:]]))


def test_30_a_second_pass_as_they_are() -> None:
    given = list(chunks(np.arange(6) / 30, 4))
    assert [id(chunk) for chunk in thinned(given, 30.0)] == [id(chunk) for chunk in given]
