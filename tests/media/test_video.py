"""Decoding: both decoders must show the same pictures at the same times, and name what they can't read."""

from __future__ import annotations

import importlib.util
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import UsageError, VideoError
from d2m_cli.media.video import FrameChunk, VideoReader, fit_size, probe

MakeVideo = Callable[..., Path]
DECODERS = ["pyav", pytest.param("decord", marks=pytest.mark.skipif(
    importlib.util.find_spec("decord") is None, reason="decord is not installed"))]  # fmt: skip


def read(path: Path, decoder: str, longest: int | None = None, chunk: int = 7) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(VideoReader(path, longest, chunk, decoder))
    assert all(len(part.times) <= chunk for part in chunks)
    return np.concatenate([part.frames for part in chunks]), np.concatenate([part.times for part in chunks])


def corner_video(path: Path, count: int = 12, size: tuple[int, int] = (320, 192)) -> Path:
    """Black, with a white quarter at the top left."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[: size[1] // 2, : size[0] // 2] = 255
        for _ in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def turn(path: Path, degrees: int, size: tuple[int, int] = (320, 192)) -> None:
    """Write a display matrix for a clockwise turn into the track header (ISO/IEC 14496-12)."""
    one, (width, height) = 1 << 16, size
    matrices = {
        90: (0, one, 0, -one, 0, 0, height * one, 0, 1 << 30),
        180: (-one, 0, 0, 0, -one, 0, width * one, height * one, 1 << 30),
        270: (0, -one, 0, one, 0, 0, 0, width * one, 1 << 30),
    }
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", *matrices[degrees])
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("decoder", DECODERS)
def test_frames_come_in_order_with_their_times(make_video: MakeVideo, tmp_path: Path, decoder: str) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=1)
    frames, times = read(path, decoder)
    assert frames.shape == (25, 48, 64, 3)
    np.testing.assert_allclose(times, np.arange(25) / 25, atol=1e-5)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 10.0 * np.arange(25), atol=4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_variable_frame_rate(make_video: MakeVideo, tmp_path: Path, decoder: str) -> None:
    stamps = [0.0, 0.04, 0.1, 0.11, 0.3, 0.31, 0.4, 0.9, 1.5, 1.52]
    frames, times = read(make_video(tmp_path / "v.mp4", times=stamps), decoder)
    np.testing.assert_allclose(times, stamps, atol=1e-3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 10.0 * np.arange(10), atol=4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_pictures_that_begin_after_the_sound_keep_their_distance(
    make_video: MakeVideo, tmp_path: Path, decoder: str
) -> None:
    stamps = [0.5 + index / 25 for index in range(20)]
    _, times = read(make_video(tmp_path / "late.mp4", times=stamps, sound=np.zeros(44100 * 2)), decoder)
    np.testing.assert_allclose(times, stamps, atol=0.03)


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
@pytest.mark.parametrize(("degrees", "corner"), [(0, (0, 0)), (90, (0, 1)), (180, (1, 1)), (270, (1, 0))])
def test_rotation(tmp_path: Path, decoder: str, degrees: int, corner: tuple[int, int]) -> None:
    path = corner_video(tmp_path / "r.mp4")
    if degrees:
        turn(path, degrees)
    info = probe(path)
    assert info.rotation == degrees
    assert (info.width, info.height) == ((320, 192) if degrees % 180 == 0 else (192, 320))
    frames, _ = read(path, decoder, longest=160)
    height, width = frames.shape[1:3]
    assert (width, height) == ((160, 96) if degrees % 180 == 0 else (96, 160))
    quarters = frames[0].reshape(2, height // 2, 2, width // 2, 3).mean(axis=(1, 3, 4))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner
    assert quarters.max() > 240
    assert np.sort(quarters.ravel())[2] < 15


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord is not installed")
def test_both_decoders_show_the_same(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=1, size=(320, 240))
    (one, first), (two, second) = (read(path, decoder, longest=160) for decoder in ("decord", "pyav"))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert np.abs(one.astype(int) - two).max() <= 3


def test_probe(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=2, fps=25, sound=np.zeros(44100))
    info = probe(path)
    assert (info.width, info.height, info.fps, info.frames, info.rotation) == (64, 48, 25.0, 50, 0)
    assert info.duration == pytest.approx(2.0, abs=0.05)
    assert (info.codec, info.has_audio) == ("h264", True)


def test_av1_goes_to_pyav_and_says_so(make_video: MakeVideo, tmp_path: Path) -> None:
    import av

    encoder = next((name for name in ("libsvtav1", "libaom-av1") if name in av.codecs_available), None)
    if encoder is None:
        pytest.skip("PyAV has no AV1 encoder here")
    path = make_video(tmp_path / "a.mp4", seconds=0.4, codec=encoder, size=(128, 96))
    reader = VideoReader(path)
    assert reader.decoder.startswith("pyav (")
    assert sum(len(chunk.times) for chunk in reader) == 10


def test_a_reader_can_be_gone_through_twice(make_video: MakeVideo, tmp_path: Path) -> None:
    reader = VideoReader(make_video(tmp_path / "a.mp4", seconds=1), chunk=4)
    assert [chunk.start for chunk in reader] == [chunk.start for chunk in reader] == [0, 4, 8, 12, 16, 20, 24]


@pytest.mark.parametrize(
    "name", ["with space.mp4", "ünïcode 舞.mp4", "-leading.mp4", "a:b.mp4", "50%d.mp4", "'q\".mp4"]
)
def test_odd_names(make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_video(tmp_path / "plain.mp4", seconds=0.4).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert sum(len(chunk.times) for chunk in VideoReader(Path(name))) == 10


def test_one_frame(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "one.mp4", times=[0.0])
    frames, times = read(path, "auto")
    assert frames.shape[0] == 1
    assert times.tolist() == [0.0]


def sound_only(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        block.sample_rate = 44100
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    return path


def test_what_is_no_video_is_named(make_video: MakeVideo, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    sound_only(tmp_path / "sound.m4a")
    whole = make_video(tmp_path / "whole.mp4", seconds=2, size=(128, 96)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("empty.mp4", "noise.mp4", "text.mp4", "sound.m4a", "half.mp4", "none.mp4"):
        with pytest.raises(VideoError, match=name):
            probe(tmp_path / name)
        with pytest.raises(VideoError, match=name):
            VideoReader(tmp_path / name)


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_file_cut_in_its_middle_is_named(make_video: MakeVideo, tmp_path: Path, decoder: str, container: str) -> None:
    """With the index in front, the first frames decode: the cut shows only at its place."""
    path = tmp_path / f"long.{container}"
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"} if container == "mp4" else {}) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(200):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(VideoError, match="long"):
        for _ in VideoReader(path, decoder=decoder):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=0.4)
    path.chmod(0)
    with pytest.raises(VideoError, match="permission"):
        probe(path)


def test_unknown_decoder(make_video: MakeVideo, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gstreamer"):
        VideoReader(make_video(tmp_path / "a.mp4", seconds=0.4), decoder="gstreamer")


def test_sizes() -> None:
    assert fit_size(1920, 1080, 640) == (640, 360)
    assert fit_size(1080, 1920, 640) == (360, 640)
    assert fit_size(384, 496, 640) == (384, 496)
    assert fit_size(4000, 3, 640) == (640, 2)


def test_chunks_check_themselves() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        FrameChunk(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3), 0)
