from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from d2m_cli.errors import VideoError
from d2m_cli.media.mux import mux
from d2m_cli.media.timeline_reading import read_timeline
from tests.media.films import (
    CASES,
    clicks,
    first_planes,
    greys,
    needs_cases,
    tags,
    write_planes,
)


@needs_cases
def test_what_an_mp4_refuses_is_encoded_and_never_taken_for_a_disk_that_does(tmp_path: Path) -> None:
    result = mux(CASES / "sorenson.flv", np.zeros((1, 90405), np.float32), 44100, tmp_path / "out.mp4")
    assert result.note == "picture re-encoded as H.264: an .mp4 can't hold flv1"
    made = read_timeline(result.path)
    assert (made.frames, made.codec) == (60, "h264")
    np.testing.assert_allclose(made.times, read_timeline(CASES / "sorenson.flv").times, rtol=0, atol=0.001)


@pytest.mark.parametrize(("full_range", "kept"), [(1, ("yuv420p10le", 1, 9, 16, 9)), (2, ("yuv420p10le", 2, 9, 16, 9))])
def test_ten_bits_and_colour_are_kept_when_encoded(full_range: int, kept: tuple[object, ...], tmp_path: Path) -> None:
    planes = [np.full((48, 64), 700, np.uint16), np.full((48, 32), 400, np.uint16), np.full((48, 32), 600, np.uint16)]
    video = write_planes(tmp_path / "a.mkv", "ffv1", "yuv422p10le", planes, colour=(full_range, 9, 16, 9))
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    assert not result.copied
    assert tags(result.path) == kept
    for plane, value in zip(first_planes(result.path), (700, 400, 600), strict=True):
        np.testing.assert_allclose(plane, value, atol=2)


@pytest.mark.parametrize("full_range", [0, 1, 2])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuva420p"])
def test_values_of_eight_bits_are_kept_when_encoded(pixel_format: str, full_range: int, tmp_path: Path) -> None:
    chroma = (48, 64) if pixel_format == "yuv444p" else (24, 32)
    planes = [np.full((48, 64), 60, np.uint8), np.full(chroma, 90, np.uint8), np.full(chroma, 170, np.uint8)]
    if pixel_format == "yuva420p":
        planes.append(np.full((48, 64), 100, np.uint8))
    video = write_planes(tmp_path / "a.mkv", "ffv1", pixel_format, planes, colour=(full_range, 1, 1, 1))
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    # H.264 says limited where nothing else is said.
    assert tags(result.path) == ("yuvj420p" if full_range == 2 else "yuv420p", full_range or 1, 1, 1, 1)
    for plane, value in zip(first_planes(result.path), (60, 90, 170), strict=True):
        np.testing.assert_allclose(plane, value, atol=1)


@pytest.mark.parametrize("full_range", [0, 1, 2])
def test_grey_pictures_look_the_same_when_encoded(full_range: int, tmp_path: Path) -> None:
    planes = [np.full((48, 64), 60, np.uint8)]
    video = write_planes(tmp_path / "a.mkv", "ffv1", "gray", planes, colour=(full_range, 1, 1, 1))
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    # FFmpeg shows grey in full range, whatever is said.
    assert greys(video) == [60.0] * 12
    np.testing.assert_allclose(greys(result.path), 60.0, atol=2)


def test_rgb_is_encoded_as_bt_709(tmp_path: Path) -> None:
    # G, B, R: pure red is Y = 16 + 219 * 0.2126, Cb = 128 - 224 * 0.2126 / 1.8556, Cr = 240 (ITU-R BT.709).
    planes = [np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8), np.full((48, 64), 255, np.uint8)]
    video = write_planes(tmp_path / "a.avi", "utvideo", "gbrp", planes)
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    assert tags(result.path)[:3] == ("yuv420p", 1, 1)
    for plane, value in zip(first_planes(result.path), (62.6, 102.3, 240.0), strict=True):
        np.testing.assert_allclose(plane, value, atol=1.5)


@pytest.mark.parametrize("codec", ["libx264", "prores_ks"])
def test_wide_pixels_stay_wide_and_turn_with_the_picture(
    codec: str, turn_video: Callable[[Path], None], tmp_path: Path
) -> None:
    # Left half dark, right half light; turned clockwise the dark half is on top.
    halves = [np.repeat([[64, 900]], 48, axis=0).repeat(32, axis=1).astype(np.uint16)]
    halves += [np.full((48, 32), 512, np.uint16)] * 2
    form = "yuv422p10le"
    if codec == "libx264":
        halves, form = [(plane >> 2).astype(np.uint8) for plane in halves], "yuv420p"
        halves[1:] = [plane[:24] for plane in halves[1:]]
    video = write_planes(tmp_path / "a.mov", codec, form, halves, aspect=Fraction(4, 3))
    turn_video(video)
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    made = read_timeline(result.path)
    assert (made.width, made.height) == (48, 64)
    with av.open(str(result.path)) as container:
        frame = next(container.decode(video=0))
        picture = made.orientation.apply(frame.to_ndarray(format="rgb24"))  # type: ignore[arg-type]
        # Copied pixels are as wide as before, and turned ones as high.
        assert container.streams.video[0].sample_aspect_ratio == (Fraction(4, 3) if result.copied else Fraction(3, 4))
    assert result.copied is (codec == "libx264")
    assert picture[:30].mean() < 20
    assert picture[34:].mean() > 200


def test_odd_sides_are_cropped_by_a_line(tmp_path: Path) -> None:
    # A column each of 20, 22, 24 ...; the last is left out, and nothing is scaled.
    columns = np.repeat((20 + 2 * np.arange(65))[None], 49, axis=0).astype(np.uint8)
    video = write_planes(tmp_path / "a.mkv", "ffv1", "yuv444p", [columns, *[np.full((49, 65), 128, np.uint8)] * 2])
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    assert "cropped from 65x49 to even sides" in result.note
    np.testing.assert_allclose(first_planes(result.path)[0], columns[:48, :64], atol=2)


def test_pictures_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    video = tmp_path / "a.flv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("flv", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()
        for number, (width, height) in enumerate([(64, 48), (96, 80), (64, 48)]):
            encoder = av.CodecContext.create("flv", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 40 + 60 * number, np.uint8))
            frame.pts = number
            for packet in [*encoder.encode(frame), *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    result = mux(video, clicks(44100, 0.12), 44100, tmp_path / "out.mp4")
    made = read_timeline(result.path)
    assert (made.frames, made.width, made.height) == (3, 64, 48)
    np.testing.assert_allclose(greys(result.path), [40, 100, 160], atol=4)


def damaged_prores(path: Path, damaged: range | list[int]) -> Path:
    grey = [np.full((48, 64), 500, np.uint16), *[np.full((48, 32), 512, np.uint16)] * 2]
    content = bytearray(write_planes(path, "prores_ks", "yuv422p10le", grey).read_bytes())
    # Each picture says what it is.
    places = [place for place in range(len(content)) if content[place : place + 4] == b"icpf"]
    assert len(places) == 12
    for number in damaged:
        content[places[number] : places[number] + 4] = b"none"
    path.write_bytes(content)
    return path


def test_a_picture_that_cant_be_decoded_leaves_the_others_in_place(tmp_path: Path) -> None:
    video = damaged_prores(tmp_path / "a.mov", [4, 5, 11])
    result = mux(video, clicks(44100, 0.48), 44100, tmp_path / "out.mp4")
    assert "3 of 12 pictures can't be decoded" in result.note
    made = read_timeline(result.path)
    np.testing.assert_allclose(made.times, np.array([0, 1, 2, 3, 6, 7, 8, 9, 10]) / 25, atol=0.001)
    assert made.duration == pytest.approx(0.48, abs=0.001)


def test_where_no_picture_can_be_decoded_any_more_the_video_is_named(tmp_path: Path) -> None:
    video = damaged_prores(tmp_path / "a.mov", [])
    timeline = read_timeline(video)
    damaged_prores(video, range(12))
    with pytest.raises(VideoError, match=r"a\.mov: holds no frame that can be decoded"):
        mux(video, clicks(44100, 0.48), 44100, tmp_path / "out" / "out.mp4", timeline=timeline)
    assert list((tmp_path / "out").iterdir()) == []
