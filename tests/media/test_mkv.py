"""Music put under videos as .mkv: in step as in an .mp4, and sample by sample what the .wav has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from d2m_cli.media.audio import save_wav
from d2m_cli.media.mux import MuxResult, mux
from tests.media import plain_pyav
from tests.media.films import clicks, packet_bytes
from tests.media.made_video import MadeVideo

RATE = 24000
KINDS = (
    "mp4-x264", "mp4-trimmed-bframes", "mov-turned-90", "mkv-bframes-x265", "webm-vpx", "webm-late-picture",
    "webm-late-sound", "webm-jittered", "ts-mpeg2video", "avi-mpeg4", "gif-gif", "wmv-wmv2",
)  # fmt: skip


@pytest.fixture(scope="module")
def muxed(
    made: Callable[[str], MadeVideo], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[MadeVideo, MuxResult]:
    """A made video, and the same with a click of 1 ms at every tenth picture but the first."""
    video = made(request.param)
    samples = np.zeros((2, round(video.seconds * RATE)), np.float32)
    for time in video.times[10::10]:
        samples[:, round(time * RATE) :][:, : RATE // 1000] = 0.8
    return video, mux(video.path, samples, RATE, tmp_path_factory.mktemp("muxed") / "a.mkv")


@pytest.mark.parametrize("muxed", KINDS, indirect=True)
def test_pictures_stay_in_step_with_their_clicks_and_end_with_them(muxed: tuple[MadeVideo, MuxResult]) -> None:
    video, result = muxed
    seen = plain_pyav.see(result.path)
    assert seen.numbers == video.numbers
    assert seen.orientation == video.orientation
    times, levels = plain_pyav.hear(result.path)
    heard = plain_pyav.clicks(times, levels)
    # Matroska counts whole milliseconds.
    tolerance = 2 * video.tolerance + 0.001
    np.testing.assert_allclose(heard, seen.times[10::10], rtol=0, atol=tolerance)
    np.testing.assert_allclose(seen.times - plain_pyav.start(result.path), video.times, rtol=0, atol=tolerance)
    assert len(levels) == round(video.seconds * RATE)
    assert result.seconds == pytest.approx(video.seconds, abs=video.seconds_tolerance)


def test_what_an_mkv_holds_is_copied_and_the_sound_is_that_of_the_wav(make_video, tmp_path: Path) -> None:
    # An .mp4 can't hold VP8.
    video = make_video(tmp_path / "a.webm", seconds=1, codec="libvpx")
    samples = clicks(RATE, 1.0)
    result = mux(video, samples, RATE, tmp_path / "out.mkv", comment="made by hand")
    assert (result.copied, result.note) == (True, "picture copied")
    assert packet_bytes(result.path) == packet_bytes(video)
    save_wav(tmp_path / "out.wav", samples, RATE)
    with av.open(str(result.path)) as container, av.open(str(tmp_path / "out.wav")) as plain:
        assert container.streams.audio[0].codec_context.name == "flac"
        assert {key.lower(): text for key, text in container.metadata.items()}["comment"] == "made by hand"
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
        np.testing.assert_array_equal(heard, np.concatenate([f.to_ndarray() for f in plain.decode(audio=0)], axis=1))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_comment_stands_behind_that_of_the_video(make_video, tmp_path: Path, suffix: str) -> None:
    plain = make_video(tmp_path / "plain.mp4", seconds=0.4)
    told = tmp_path / "told.mp4"
    with av.open(str(plain)) as source, av.open(str(told), "w") as target:
        target.metadata.update({"title": "a dance", "comment": "on a roof"})
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    mux(told, clicks(RATE, 0.4), RATE, tmp_path / f"out{suffix}", comment="made by hand")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        found = {key.lower(): text for key, text in container.metadata.items()}
    assert (found["title"], found["comment"]) == ("a dance", "on a roof; made by hand")
