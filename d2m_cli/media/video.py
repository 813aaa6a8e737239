"""Video in: what a file holds, and its frames in bounded chunks with their true time stamps.

Time zero is the start of the container, so that a picture track that begins after the sound keeps its distance to it.
Two decoders do the work: decord where it is installed and takes the file, PyAV for the rest. Which one was used, and
why the other was not, is part of what a reader tells.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError, VideoError

DECODERS = ("auto", "decord", "pyav")
SHORT_BY = 0.1
"""Share of the announced length that may be missing before a file counts as truncated."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes
    ----------
    path
        The file.
    width, height
        Size of the displayed picture in pixels, rotation applied.
    fps
        Mean frame rate in 1/s.
    duration
        Length of the picture track in seconds.
    frames
        Number of frames; computed from `duration` and `fps` where the container does not count them.
    rotation
        Degrees (0, 90, 180, 270) by which the stored picture is turned clockwise for display.
    codec
        Name of the video codec, such as "h264".
    has_audio
        Whether there is sound.
    """

    path: Path
    width: int
    height: int
    fps: float
    duration: float
    frames: int
    rotation: int
    codec: str
    has_audio: bool


@dataclass(frozen=True, repr=False)
class FrameChunk:
    """Some consecutive frames.

    Attributes
    ----------
    frames
        (n, h, w, 3) uint8 RGB, as displayed, scaled to the reader's size.
    times
        (n,) float64 seconds since the start of the container.
    start
        Number of the first frame in the video.
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    start: int

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or len(self.frames) != len(self.times):
            raise ValueError(f"{self.frames.shape} frames do not fit {self.times.shape} times")

    def __repr__(self) -> str:
        return f"FrameChunk(start={self.start}, frames={self.frames.shape})"


@dataclass(frozen=True)
class _Header:
    """`VideoInfo`, and what only the decoders need."""

    info: VideoInfo
    first_time: float


def probe(path: Path) -> VideoInfo:
    """Read what a video file holds; decodes its first frame.

    Raises
    ------
    VideoError
        The file is missing, empty, not a video, or its first frame can't be decoded.
    """
    return _read_header(Path(path)).info


def fit_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Size (width, height) in pixels whose longer side is at most `longest`, never larger than the picture.

    Both sides are even, which is what the scalers of both decoders like best.
    """
    scale = min(1.0, longest / max(width, height))
    if scale == 1.0:
        return width, height
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


class VideoReader:
    """The frames of one video, a chunk at a time.

    Parameters
    ----------
    path
        The video.
    longest
        Longer side of the frames in pixels; None keeps the displayed size. Frames are scaled while they are decoded.
    chunk
        Largest number of frames held at a time.
    decoder
        "auto" (decord where it can, else PyAV), "decord" or "pyav".

    Attributes
    ----------
    info
        What the file says about itself.
    size
        (width, height) of the frames that come out.
    decoder
        The decoder in use, with the reason where the first choice was passed over.

    Raises
    ------
    VideoError
        The file can't be decoded.
    UsageError
        A decoder was asked for by name and is not installed.
    """

    def __init__(self, path: Path, longest: int | None = None, chunk: int = 32, decoder: str = "auto") -> None:
        if chunk < 1:
            raise ValueError(f"a chunk holds at least 1 frame, not {chunk}")
        if decoder not in DECODERS:
            raise UsageError(f"there is no decoder {decoder!r}; choose one of {', '.join(DECODERS)}")
        self.path = Path(path)
        self._header = _read_header(self.path)
        self.info = self._header.info
        longest = longest or max(self.info.width, self.info.height)
        self.size = fit_size(self.info.width, self.info.height, longest)
        self._chunk = chunk
        self._decord: Any = None
        self.decoder = self._choose(decoder)

    def _choose(self, decoder: str) -> str:
        """Open decord if it is wanted and takes the file; returns the name to report."""
        if decoder == "pyav":
            return "pyav"
        if importlib.util.find_spec("decord") is None:
            if decoder == "decord":
                raise UsageError("decord is not installed here; install it or use --decoder pyav")
            return "pyav (decord is not installed)"
        try:
            self._decord = _open_decord(self.path, self.size)
        except Exception as error:  # decord raises DECORDError, RuntimeError and others for what it can't read
            if decoder == "decord":
                raise VideoError(f"{self.path}: decord can't read it ({_first_line(error)}); try PyAV") from error
            return f"pyav (decord refused {self.info.codec} in {self.path.suffix or 'this container'})"
        return "decord"

    def __iter__(self) -> Iterator[FrameChunk]:
        """Yield all frames in order; can be repeated."""
        last, count = -np.inf, 0
        for chunk in self._decord_chunks() if self._decord is not None else self._pyav_chunks():
            rising = _rising(chunk.times, last)
            if not rising.any():
                continue
            kept = FrameChunk(chunk.frames[rising], chunk.times[rising], count)
            count, last = count + len(kept.times), float(kept.times[-1])
            yield kept
        if not count:
            raise VideoError(f"{self.path}: no frame could be decoded; is it a complete video?")
        self._check_length(last)

    def _decord_chunks(self) -> Iterator[FrameChunk]:
        total = len(self._decord)
        # decord counts from the first frame; the container may start earlier, with sound.
        stamps = self._decord.get_frame_timestamp(np.arange(total))[:, 0].astype(np.float64) + self._header.first_time
        for start in range(0, total, self._chunk):
            stop = min(start + self._chunk, total)
            try:
                frames = self._decord.get_batch(range(start, stop)).asnumpy()
            except Exception as error:
                raise _damaged(self.path, float(stamps[start]), error) from error
            yield FrameChunk(frames, stamps[start:stop], start)

    def _pyav_chunks(self) -> Iterator[FrameChunk]:
        import av

        pictures: list[NDArray[np.uint8]] = []
        times: list[float] = []
        start = 0
        try:
            with av.open(os.path.abspath(self.path)) as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                zero = _container_start(container)
                for frame in container.decode(stream):
                    if frame.pts is None:
                        continue
                    pictures.append(self._picture(frame))
                    times.append(frame.time - zero)
                    if len(pictures) == self._chunk:
                        yield FrameChunk(np.stack(pictures), np.array(times), start)
                        start += len(pictures)
                        pictures, times = [], []
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            raise _damaged(self.path, times[-1] if times else 0.0, error) from error
        if pictures:
            yield FrameChunk(np.stack(pictures), np.array(times), start)

    def _picture(self, frame: Any) -> NDArray[np.uint8]:
        """Scale and turn one PyAV frame; (h, w, 3) uint8."""
        turns = self.info.rotation // 90
        width, height = self.size if turns % 2 == 0 else self.size[::-1]
        stored: NDArray[np.uint8] = frame.to_ndarray(
            format="rgb24", width=width, height=height, interpolation="BICUBIC"
        )
        return np.ascontiguousarray(np.rot90(stored, -turns)) if turns else stored

    def _check_length(self, last: float) -> None:
        """Raise if the frames end well before the announced end: some containers are cut without an error."""
        end = last + 1 / self.info.fps if self.info.fps > 0 else last
        if self.info.duration - (end - self._header.first_time) > max(1.0, SHORT_BY * self.info.duration):
            raise VideoError(
                f"{self.path}: frames end at {end:.1f} s of the announced {self.info.duration:.1f} s; "
                "the file is truncated, copy or download it again"
            )


def _read_header(path: Path) -> _Header:
    import av

    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty; copy or download it again")
    try:
        # An absolute path can't be mistaken for a protocol ("a:b.mp4") or an option.
        with av.open(os.path.abspath(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: holds no picture, only sound or other data; give a video")
            stream = container.streams.video[0]
            first = next(iter(container.decode(stream)), None)
            if first is None:
                raise VideoError(f"{path}: holds no frame that can be decoded; is it a complete video?")
            zero = _container_start(container)
            return _Header(_describe(path, container, stream, first), (first.time or 0.0) - zero)
    except PermissionError as error:
        raise VideoError(f"{path}: may not be read; check its permissions") from error
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise VideoError(
            f"{path}: is not a video that can be decoded, or is truncated ({_first_line(error)}); "
            "copy it again or convert it"
        ) from error


def _describe(path: Path, container: Any, stream: Any, first: Any) -> VideoInfo:
    rotation = -round(float(first.rotation) / 90) * 90 % 360
    width, height = (first.width, first.height) if rotation % 180 == 0 else (first.height, first.width)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    fps = float(rate) if rate else 0.0
    duration = _picture_seconds(container, stream)
    frames = stream.frames or max(1, round(duration * fps))
    if not duration and fps:
        duration = frames / fps
    has_audio = bool(container.streams.audio)
    return VideoInfo(path, width, height, fps, duration, frames, rotation, stream.codec_context.name, has_audio)


def _picture_seconds(container: Any, stream: Any) -> float:
    """Length of the picture track: from the track, from Matroska's tag, or from the whole container."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    parts = str(stream.metadata.get("DURATION", "")).split(":")
    if len(parts) == 3:
        try:
            hours, minutes, seconds = (float(part) for part in parts)
            return 3600 * hours + 60 * minutes + seconds
        except ValueError:
            pass
    return float(container.duration or 0) / 1e6


def _container_start(container: Any) -> float:
    return float(container.start_time or 0) / 1e6


def _open_decord(path: Path, size: tuple[int, int]) -> Any:
    decord = importlib.import_module("decord")
    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(os.path.abspath(path), ctx=decord.cpu(0), width=size[0], height=size[1])
    if len(reader) == 0:
        raise ValueError("no frames")
    first = reader[0].shape
    if first != (size[1], size[0], 3):
        raise ValueError(f"frames come out as {first}")
    return reader


def _rising(times: NDArray[np.float64], last: float) -> NDArray[np.bool_]:
    """Mark frames whose time lies after all earlier ones; a damaged index repeats stamps."""
    before = np.maximum.accumulate(np.concatenate([[last], times[:-1]]))
    marks: NDArray[np.bool_] = times > before
    return marks


def _damaged(path: Path, time: float, error: Exception) -> VideoError:
    return VideoError(
        f"{path}: can't be decoded beyond about {time:.1f} s ({_first_line(error)}); "
        "the file is truncated or damaged, copy it again or cut it there"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
