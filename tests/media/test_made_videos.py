"""The made videos against plain PyAV, wherever FFmpeg alone is right: the answers that the matrix is held to hold."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest

from tests.media import plain_pyav
from tests.media.made_video import MadeVideo
from tests.media.made_videos import KINDS
from tests.media.patching import picture_stamps
from tests.media.pattern import ORIENTATIONS, Orientation, UnreadableError, draw, read

# FFmpeg alone leaves pictures in an .avi one or more places late, begins again with the stamps where streams are
# joined, and leaves pictures without stamps where only some have them.
NOT_BY_FFMPEG = {
    "avi-x264",
    "avi-bframes-mpeg4",
    "avi-bframes-x264",
    "mpg-joined",
    "vob-joined-bframes",
    "ts-joined",
    "ts-joined-bframes",
    "ts-unstamped",
}


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_a_picture_tells_its_number_and_orientation(orientation: Orientation) -> None:
    for number in (0, 1, 63, 64, 85, 127):
        picture = orientation.apply(draw(number))
        assert read(picture) == (number, orientation)
        assert read(picture[::2, ::2] // 4 * 3 + 32) == (number, orientation)


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


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if kind.startswith("mp4-trimmed")))
def test_the_lead_in_is_marked_to_be_discarded(made: Callable[[str], MadeVideo], kind: str) -> None:
    with av.open(str(made(kind).path)) as container:
        discarded = [packet.is_discard for packet in container.demux(video=0) if packet.size]
    assert (len(discarded), sum(discarded)) == (50, 20)


@pytest.mark.parametrize("kind", ["mkv-bframes-x264", "mkv-bframes-x265"])
def test_matroska_leaves_the_first_packets_without_decoding_times(made: Callable[[str], MadeVideo], kind: str) -> None:
    with av.open(str(made(kind).path)) as container:
        assert next(container.demux(video=0)).dts is None


@pytest.mark.parametrize("kind", ["ts-wrapped", "m2ts-wrapped", "vob-wrapped", "ts-wrapped-after-70-s"])
def test_the_clock_of_a_wrapped_stream_begins_again(made: Callable[[str], MadeVideo], kind: str) -> None:
    stamps = picture_stamps(made(kind).path.read_bytes())
    assert 0 <= min(stamps) < 90_000 * 80
    assert max(stamps) > 2**33 - 90_000 * 80
