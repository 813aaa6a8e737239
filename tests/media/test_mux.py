from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from scipy.signal import correlate

from d2m_cli.errors import VideoError
from d2m_cli.media import film
from d2m_cli.media.aac import AAC_FRAME
from d2m_cli.media.audio import load_audio
from d2m_cli.media.copied import copied_packets
from d2m_cli.media.film import write_film
from d2m_cli.media.mux import mux, picture_seconds
from d2m_cli.media.orientation import Orientation
from d2m_cli.media.timeline import read_timeline

CLICKS = (0.1, 0.35, 0.77, 0.95)
CASES = Path(os.environ.get("D2M_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"no videos at {CASES}; set D2M_SHARED_DATA")


def clicks(rate: int, seconds: float, channels: int = 2) -> np.ndarray:
    samples = np.zeros((channels, round(seconds * rate)), np.float32)
    for time in CLICKS:
        samples[:, round(time * rate) : round(time * rate) + 30] = 0.7
    return samples


def stamps(path: Path) -> list[Fraction]:
    """Display times of the picture's packets, in order, from the start of the container."""
    with av.open(str(path)) as container:
        start = Fraction(container.start_time or 0, av.time_base)
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        return sorted(packet.pts * packet.time_base - start for packet in packets)


def packet_bytes(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def greys(path: Path) -> list[float]:
    """Mean brightness of the pictures, 0 to 255, in the order in which they are shown."""
    with av.open(str(path)) as container:
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]


def tags(path: Path) -> tuple[str | None, int, int, int, int]:
    """Pixel format, range, matrix, transfer and primaries."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.pix_fmt, context.color_range, context.colorspace, context.color_trc, context.color_primaries


def write_planes(
    path: Path,
    codec: str,
    pixel_format: str,
    planes: list[np.ndarray],
    *,
    colour: tuple[int, int, int, int] = (0, 2, 2, 2),
    aspect: Fraction | None = None,
    count: int = 12,
) -> Path:
    """Write one picture, given plane by plane, `count` times at 25 a second.

    `colour` is range, matrix, transfer and primaries in FFmpeg's numbers.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = planes[0].shape
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = colour
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        for number in range(count):
            frame = av.VideoFrame(stream.width, stream.height, pixel_format)
            for plane, values in zip(frame.planes, planes, strict=True):
                rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
                rows[:, : values.shape[1]] = values
                plane.update(rows.tobytes())
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def first_planes(path: Path) -> list[np.ndarray]:
    """Planes of the first picture, as stored."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
        rows = [np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]
        return [row.copy() for row in rows]


def lag(decoded: np.ndarray, original: np.ndarray) -> int:
    """Samples by which the decoded sound lies behind the original, by cross-correlation over +-200 ms."""
    reach = 8000
    length = min(len(decoded), len(original))
    padded = np.pad(decoded[:length].astype(np.float64), reach)
    return int(np.argmax(correlate(padded, original[:length], mode="valid"))) - reach


@pytest.mark.parametrize("rate", [44100, 32000, 30000])
def test_sound_is_where_the_wav_has_it(make_video, tmp_path: Path, rate: int) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    samples = clicks(rate, 1.0)
    result = mux(video, samples, rate, tmp_path / "out.mp4")
    decoded, decoded_rate = load_audio(result.path, sample_rate=rate)
    assert decoded_rate == rate
    assert abs(lag(decoded[0], samples[0])) <= 0.002 * rate


def test_sound_is_as_long_as_the_picture(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1.2)
    mux(video, clicks(44100, 1.2), 44100, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert float(picture.duration * picture.time_base) == pytest.approx(1.2, abs=1e-4)
        assert abs(float(sound.duration * sound.time_base) - 1.2) <= AAC_FRAME / 44100
        assert sound.codec_context.name == "aac"


def test_picture_is_copied_bit_for_bit_with_its_times(make_video, tmp_path: Path) -> None:
    uneven = [0.0, 0.04, 0.10, 0.11, 0.25, 0.30, 0.55, 0.56, 0.70]
    video = make_video(tmp_path / "a.mp4", times=uneven)
    result = mux(video, clicks(44100, 0.8), 44100, tmp_path / "out.mp4")
    assert result.copied
    assert stamps(result.path) == stamps(video)
    assert packet_bytes(result.path) == packet_bytes(video)
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], uneven, atol=1e-4)


def test_length_counts_from_the_start_of_the_container(make_video, tmp_path: Path) -> None:
    # Sound from 0 to 1.5 s, the picture from 0.5 s: its last frame starts at 1.46 s and is shown for 0.04 s.
    times = [0.5 + i / 25 for i in range(25)]
    video = make_video(tmp_path / "late.mp4", times=times, sound=np.zeros(66150, np.float32))
    assert picture_seconds(video) == pytest.approx(1.5, abs=0.001)
    result = mux(video, clicks(44100, 1.5), 44100, tmp_path / "out.mp4")
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], times, atol=1e-3)
    assert result.note == "picture copied"


def test_rotation_is_kept(make_video, turn_video: Callable[[Path], None], tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=0.4)
    turn_video(video)
    mux(video, clicks(44100, 0.4), 44100, tmp_path / "out.mp4")
    turns = []
    for path in (video, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            turns.append(round(next(container.decode(video=0)).rotation))
    assert abs(turns[0]) == 90
    assert turns[0] == turns[1]


def test_old_sound_is_replaced(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1, sound=np.full(44100, 0.5, np.float32))
    mux(video, np.zeros((1, 44100), np.float32), 44100, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == 1
    assert np.abs(load_audio(tmp_path / "out.mp4")[0]).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "codec", "copied"),
    [
        ("a.webm", "libvpx-vp9", True),
        ("a.webm", "libvpx", False),
        ("a.avi", "mpeg4", True),
        ("a.ts", "libx264", True),
        ("a.mov", "mjpeg", True),
        ("a.wmv", "wmv2", False),
        ("a.flv", "flv", False),
    ],
)
def test_codecs(make_video, tmp_path: Path, name: str, codec: str, copied: bool) -> None:
    video = make_video(tmp_path / name, seconds=1, codec=codec)
    samples = clicks(44100, 1.0)
    result = mux(video, samples, 44100, tmp_path / "out.mp4")
    assert result.copied is copied
    assert ("encoded anew as H.264" in result.note) is not copied
    assert result.seconds == pytest.approx(1.0, abs=0.001)
    times = [float(t) for t in stamps(result.path)]
    np.testing.assert_allclose(times, np.arange(25) / 25, atol=0.0011)
    assert abs(lag(load_audio(result.path)[0][0], samples[0])) <= 88
    with av.open(str(result.path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25


def test_reordered_frames_in_an_avi_are_copied_in_the_order_of_the_decoder(make_video, tmp_path: Path) -> None:
    # Each is 10 brighter than the last; the container tells neither time nor order.
    video = make_video(tmp_path / "a.avi", seconds=1, codec="mpeg4", options={"bf": "2"})
    result = mux(video, clicks(44100, 1.0), 44100, tmp_path / "out.mp4")
    assert result.copied
    assert packet_bytes(result.path) == packet_bytes(video)
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], np.arange(25) / 25, atol=1e-3)
    np.testing.assert_allclose(greys(result.path), np.arange(25) * 10, atol=8)
    assert greys(result.path) == greys(video)


def test_music_of_another_length_is_fitted_and_said_so(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    result = mux(video, clicks(44100, 2.0), 44100, tmp_path / "out.mp4")
    assert "music cut from 2.00 s to the picture's 1.00 s" in result.note
    with av.open(str(result.path)) as container:
        sound = container.streams.audio[0]
        assert abs(float(sound.duration * sound.time_base) - 1.0) <= AAC_FRAME / 44100


@pytest.mark.parametrize("content", [b"", b"no video" * 500])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    video = tmp_path / "odd ☃.mp4"
    video.write_bytes(content)
    with pytest.raises(VideoError, match="odd ☃"):
        mux(video, clicks(44100, 1.0), 44100, tmp_path / "out" / "out.mp4")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_file_and_says_so(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    (tmp_path / "out").mkdir()
    script = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from d2m_cli.errors import OutputError\n"
        "from d2m_cli.media.mux import mux\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "noise = np.random.default_rng(0).uniform(-1, 1, (2, 44100)).astype(np.float32)\n"
        "try:\n"
        "    mux(Path(sys.argv[1]), noise, 44100, Path(sys.argv[2]))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "out" / "out.mp4"
    command = [sys.executable, "-c", script, str(video), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(target) in done.stdout
    assert "largest size" in done.stdout
    assert list(target.parent.iterdir()) == []


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
def test_what_an_mp4_refuses_is_encoded_and_never_taken_for_a_disk_that_does(tmp_path: Path) -> None:
    result = mux(CASES / "sorenson.flv", np.zeros((1, 90405), np.float32), 44100, tmp_path / "out.mp4")
    assert result.note == "picture encoded anew as H.264: an .mp4 can't hold flv1"
    made = read_timeline(result.path)
    assert (made.frames, made.codec) == (60, "h264")
    np.testing.assert_allclose(made.times, read_timeline(CASES / "sorenson.flv").times, rtol=0, atol=0.001)


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
        picture = made.orientation.apply(frame.to_ndarray(format="rgb24"))
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


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx")])
def test_uneven_times_end_where_the_last_picture_does(make_video, tmp_path: Path, name: str, codec: str) -> None:
    times = [0.0, 0.04, 0.10, 0.11, 0.25, 0.30, 0.55, 0.56, 0.70]
    video = make_video(tmp_path / name, times=times, codec=codec)
    source = read_timeline(video)
    result = mux(video, clicks(44100, source.duration), 44100, tmp_path / "out.mp4")
    assert result.copied is (codec == "libx264")
    made = read_timeline(result.path)
    np.testing.assert_allclose(made.times, times, atol=0.001)
    assert made.duration == pytest.approx(source.duration, abs=0.001)
    with av.open(str(result.path)) as container:
        picture = container.streams.video[0]
        assert float(picture.duration * picture.time_base) == pytest.approx(source.duration, abs=0.002)


@pytest.mark.parametrize(
    ("stumble", "why"), [(False, "a copy shows pictures up to 0.200 s away from their time"), (True, "can't be copied")]
)
def test_a_copy_that_fails_or_is_out_of_step_gives_way_to_an_encoded_picture(
    stumble: bool, why: str, make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*arguments: Any) -> Iterator[Any]:
        packets = copied_packets(*arguments)

        def moved() -> Iterator[Any]:
            for number, packet in enumerate(packets):
                if number == 20:
                    if stumble:
                        raise av.error.PermissionError(errno.EPERM, "Operation not permitted", "a.mp4")
                    packet.pts += round(0.2 / packet.time_base)
                yield packet

        return moved()

    monkeypatch.setattr(film, "copied_packets", late)
    video = make_video(tmp_path / "a.mp4", seconds=1)
    result = mux(video, clicks(44100, 1.0), 44100, tmp_path / "out.mp4")
    assert not result.copied
    assert why in result.note
    np.testing.assert_allclose([float(t) for t in stamps(result.path)], np.arange(25) / 25, atol=1e-3)


def test_an_error_of_reading_is_never_one_of_writing(
    make_video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> Iterator[Any]:
        raise av.error.OSError(errno.EIO, "Input/output error", "a.mp4")

    monkeypatch.setattr(film, "copied_packets", refused)
    monkeypatch.setattr(film, "encoded_packets", refused)
    video = make_video(tmp_path / "a.mp4", seconds=0.4)
    with pytest.raises(VideoError, match=r"a\.mp4: its picture can't be encoded anew \(Input/output error\)"):
        mux(video, clicks(44100, 0.4), 44100, tmp_path / "out" / "out.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_titles_never_fail_a_film_and_can_be_left_out(make_video, tmp_path: Path) -> None:
    plain, video = make_video(tmp_path / "plain.mp4", seconds=0.4), tmp_path / "a.mkv"
    with av.open(str(plain)) as source, av.open(str(video), "w", metadata_errors="surrogateescape") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        said = {"title": "Tango \udcff", "creation_time": "99999-99-99", "location": "+9999999999.0/"}
        target.metadata.update({**said, "comment": "x" * 70_000})
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    for titles in (True, False):
        result = mux(video, clicks(44100, 0.4), 44100, tmp_path / "out.mp4", titles=titles)
        assert result.note == "picture copied"
        assert (b"Tango" in result.path.read_bytes()) is titles
        assert (b"xxxxx" in result.path.read_bytes()) is titles


def test_a_full_disk_is_told_from_a_codec_that_is_refused(make_video, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full")
    timeline = read_timeline(make_video(tmp_path / "a.mp4", seconds=0.4))
    with pytest.raises(OSError, match="No space left") as caught:
        write_film(timeline, clicks(44100, 0.4), 44100, full, lambda count: None)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(full))


def test_signs_of_life_come_while_it_is_copied_and_while_it_is_encoded(make_video, tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.webm", "libvpx")):
        timeline = read_timeline(make_video(tmp_path / name, seconds=5, codec=codec))
        told: list[int] = []
        write_film(timeline, clicks(44100, 5.0), 44100, tmp_path / "part.mp4", told.append)
        assert len(told) >= 2
        assert max(told) >= 100


def test_writing_a_film_needs_no_torch() -> None:
    script = "import sys, d2m_cli.media.film; raise SystemExit('torch' in sys.modules or 'av' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
