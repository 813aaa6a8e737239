"""The made videos against plain PyAV, wherever FFmpeg alone is right: the answers that the matrix is held to hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.media import plain_pyav
from tests.media.made_video import MadeVideo
from tests.media.made_videos import KINDS
from tests.media.pattern import ORIENTATIONS, Orientation, UnreadableError, draw, read

# Without stamps of its own an .avi leaves FFmpeg's H.264 decoder one picture late.
NOT_BY_FFMPEG = {"avi-x264"}


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_a_picture_tells_its_number_and_orientation(orientation: Orientation) -> None:
    for number in (0, 1, 63, 64, 85, 127):
        picture = orientation.apply(draw(number))
        assert read(picture) == (number, orientation)
        assert read(picture[::2, ::2] // 2 + 64) == (number, orientation)


def test_pictures_that_are_none_are_refused() -> None:
    blended = draw(5) // 2 + draw(6) // 2
    for picture in (blended, np.zeros_like(blended), np.full_like(blended, 255), draw(3) // 8 + 112):
        with pytest.raises(UnreadableError):
            read(picture)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - NOT_BY_FFMPEG))
def test_ffmpeg_shows_what_was_written(made: Callable[[str], MadeVideo], kind: str) -> None:
    video = made(kind)
    seen = plain_pyav.see(video.path)
    assert seen.numbers == video.numbers
    assert seen.orientation == video.orientation
    np.testing.assert_allclose(seen.times - plain_pyav.start(video.path), video.times, atol=video.tolerance + 1e-6)

    if video.clicks:
        heard = plain_pyav.clicks(*plain_pyav.hear(video.path)) - plain_pyav.start(video.path)
        np.testing.assert_allclose(heard, video.clicks, atol=0.0015)
