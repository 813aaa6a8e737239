"""Every kind of video with music put under it: what players show and sound of the .mp4 is in step with the source."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from d2m_cli.media.mux import MuxResult, mux
from tests.media import plain_pyav
from tests.media.made_video import MadeVideo
from tests.media.made_videos import KINDS, each_kind
from tests.media.pattern import COLOURS, levels

RATE = 44100
CLICK_EVERY = 10
CLICK_SHARPNESS = 0.003
"""Seconds within which a click is found in the sound after AAC."""


def music(video: MadeVideo) -> np.ndarray:
    """Silence of the video's length with a click of 1 ms at every tenth picture but the first, (2, n) float32."""
    samples = np.zeros((2, round(video.seconds * RATE)), np.float32)
    for time in video.times[CLICK_EVERY::CLICK_EVERY]:
        first = round(time * RATE)
        samples[:, first : first + RATE // 1000] = 0.8
    return samples


@pytest.fixture(scope="module")
def muxed(made: Callable[[str], MadeVideo], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MuxResult]:
    """A function that puts `music` under the made video of a kind, once."""
    folder = tmp_path_factory.mktemp("muxed")

    @cache
    def put(kind: str) -> MuxResult:
        video = made(kind)
        return mux(video.path, music(video), RATE, folder / f"{kind}.mp4")

    return put


@pytest.mark.parametrize("kind", each_kind())
def test_pictures_stay_in_step_with_their_clicks(
    made: Callable[[str], MadeVideo], muxed: Callable[[str], MuxResult], kind: str
) -> None:
    video, result = made(kind), muxed(kind)
    seen = plain_pyav.see(result.path)
    assert seen.numbers == video.numbers
    assert seen.orientation == video.orientation
    heard = plain_pyav.clicks(*plain_pyav.hear(result.path))
    clicking = seen.times[CLICK_EVERY::CLICK_EVERY]
    assert len(heard) == len(clicking) > 0
    np.testing.assert_allclose(heard, clicking, rtol=0, atol=2 * video.tolerance + CLICK_SHARPNESS)
    # Not only the two to each other: time 0 of the result is time 0 of the source.
    zero = plain_pyav.start(result.path)
    np.testing.assert_allclose(seen.times - zero, video.times, rtol=0, atol=2 * video.tolerance)


@pytest.mark.parametrize("kind", each_kind())
def test_picture_and_sound_end_with_the_source(
    made: Callable[[str], MadeVideo], muxed: Callable[[str], MuxResult], kind: str
) -> None:
    video, result = made(kind), muxed(kind)
    assert result.seconds == pytest.approx(video.seconds, abs=video.seconds_tolerance)
    picture, sound = plain_pyav.ends(result.path)
    assert picture == pytest.approx(video.seconds, abs=video.seconds_tolerance)
    assert sound == pytest.approx(video.seconds, abs=video.seconds_tolerance)


@pytest.mark.parametrize("kind", each_kind())
def test_the_picture_is_copied_wherever_an_mp4_can_hold_it(
    made: Callable[[str], MadeVideo], muxed: Callable[[str], MuxResult], kind: str
) -> None:
    video, result = made(kind), muxed(kind)
    assert result.copied in ((True, False) if video.copied is None else (video.copied,)), result.note
    with av.open(str(result.path)) as container:
        context = container.streams.video[0].codec_context
        # Apple's players take only one of HEVC's two tags.
        assert context.name != "hevc" or context.codec_tag == "hvc1"


def tags(path: Path) -> tuple[Any, ...]:
    with av.open(str(path)) as container:
        context = plain_pyav.shown_stream(container).codec_context
        bits = context.format.components[0].bits
        return context.color_range, context.colorspace, context.color_primaries, context.color_trc, bits


@pytest.mark.parametrize("kind", each_kind(kind for kind in KINDS if re.search("full-range|bt709|bt2020", kind)))
def test_colours_are_kept(made: Callable[[str], MadeVideo], muxed: Callable[[str], MuxResult], kind: str) -> None:
    video, result = made(kind), muxed(kind)
    assert tags(result.path) == tags(video.path)
    with av.open(str(result.path)) as container:
        shown = levels(next(container.decode(video=0)).to_ndarray(format="rgb24"))  # type: ignore[arg-type]
    for name, colour in COLOURS.items():
        np.testing.assert_allclose(shown[name], colour, atol=8, err_msg=name)
