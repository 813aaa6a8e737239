"""Put music under a video: the picture is copied as it is, the sound becomes AAC."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from d2m_cli.batch.atomic import atomic_path
from d2m_cli.errors import VideoError
from d2m_cli.media.audio import Samples, fit_length, resample

AAC_FRAME = 1024
"""Samples in one AAC frame, and how many the encoder puts in front (its priming); an edit list takes those away."""

_MP4_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"})
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_BIT_RATE = 192_000


@dataclass(frozen=True)
class MuxResult:
    """What `mux` made.

    Attributes
    ----------
    path
        The .mp4.
    copied
        Whether the picture was copied bit for bit.
    note
        In words: copied, or encoded anew and why; and where the sound was cut or lengthened.
    seconds
        Length of the picture in seconds, from the start of the container to the end of the last frame.
    """

    path: Path
    copied: bool
    note: str
    seconds: float


class _CantCopyError(Exception):
    """The packets of this picture don't fit into an .mp4 as they are."""


def mux(video: Path, samples: Samples, sample_rate: int, out: Path) -> MuxResult:
    """Write an .mp4 with the picture of `video` and the given music in place of any sound it had.

    The picture keeps its time stamps (counted from the start of the container) and its rotation. It is copied, or
    encoded to H.264 where an .mp4 can't hold it. The music is cut or lengthened with silence to the length of the
    picture where they differ by more than one AAC frame.

    Parameters
    ----------
    video
        The video.
    samples
        (channels, n) float32, one or two channels.
    sample_rate
        In Hz; a rate that AAC does not know is converted to 48 kHz.
    out
        The .mp4 to make, whole or not at all.

    Raises
    ------
    VideoError
        The video can't be read, or its picture can't be decoded where it must be encoded anew.
    OutputError
        The result can't be written.
    """
    if samples.ndim != 2 or samples.shape[0] not in (1, 2):
        raise ValueError(f"samples must be of shape (1 or 2, n), not {samples.shape}")
    if sample_rate not in _AAC_RATES:
        samples, sample_rate = resample(samples, sample_rate, 48000), 48000
    timeline = _read_timeline(video)
    samples, sound_note = _match_length(samples, sample_rate, timeline.seconds)
    reason = timeline.obstacle
    if reason is None:
        try:
            with atomic_path(out) as part:
                _write(video, timeline, samples, sample_rate, part, copy=True)
            return MuxResult(out, True, "picture copied" + sound_note, timeline.seconds)
        except _CantCopyError as error:
            reason = str(error)
    with atomic_path(out) as part:
        _write(video, timeline, samples, sample_rate, part, copy=False)
    return MuxResult(out, False, f"picture encoded anew as H.264: {reason}{sound_note}", timeline.seconds)


def picture_seconds(video: Path) -> float:
    """Length of a video's picture in seconds, from the start of the container to the end of the last frame.

    Counted from the packets, without decoding: headers round, and know nothing of a picture that starts late.

    Raises
    ------
    VideoError
        The video can't be read.
    """
    return _read_timeline(video).seconds


@dataclass(frozen=True)
class _Timeline:
    """When the picture starts and ends, and what keeps it from being copied."""

    zero: Fraction
    seconds: float
    period: Fraction
    obstacle: str | None


def _read_timeline(video: Path) -> _Timeline:
    import av

    try:
        with av.open(str(video.resolve())) as container:
            if not container.streams.video:
                raise VideoError(f"{video}: holds no picture; give a video")
            stream = container.streams.video[0]
            codec = stream.codec_context.name
            obstacle = None if codec in _MP4_CODECS else f"an .mp4 can't hold {codec}"
            if container.format.name == "avi" and stream.codec_context.has_b_frames:
                obstacle = obstacle or "an .avi does not tell when its reordered frames are shown"
            zero = Fraction(container.start_time or 0, av.time_base)
            period = 1 / stream.average_rate if stream.average_rate else Fraction(0)
            end = zero
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.dts is None:
                    obstacle = obstacle or "its packets carry no time stamps"
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None:
                    end = max(end, stamp * packet.time_base + _packet_seconds(packet, period))
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise VideoError(f"{video}: can't be read ({error}); copy it again or convert it") from error
    if end <= zero:
        raise VideoError(f"{video}: its picture has no length; convert it")
    return _Timeline(zero, float(end - zero), period, obstacle)


def _packet_seconds(packet: Any, period: Fraction) -> Fraction:
    # Where a container does not know a packet's length it says 0, or a tick or two.
    length = (packet.duration or 0) * packet.time_base
    return Fraction(length) if length > period / 2 else period


def _match_length(samples: Samples, rate: int, seconds: float) -> tuple[Samples, str]:
    length = round(seconds * rate)
    if abs(samples.shape[1] - length) <= AAC_FRAME:
        return samples, ""
    change = "cut" if samples.shape[1] > length else "lengthened with silence"
    note = f"; music {change} from {samples.shape[1] / rate:.2f} s to the picture's {seconds:.2f} s"
    return fit_length(samples, length), note


def _write(video: Path, timeline: _Timeline, samples: Samples, rate: int, part: Path, *, copy: bool) -> None:
    import av

    with (
        av.open(str(video.resolve())) as source,
        av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as target,
    ):
        for key, value in source.metadata.items():
            if key in ("title", "artist", "comment", "creation_time", "location"):
                target.metadata[key] = value
        packets = _copied(source, target, timeline) if copy else _encoded(video, source, target, timeline)
        sound = _aac(target, samples, rate)
        for packet in heapq.merge(packets, sound, key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)


def _copied(source: Any, target: Any, timeline: _Timeline) -> Iterator[Any]:
    """Packets of the picture for a stream that is added to `target` at once."""
    import av

    stream = source.streams.video[0]
    try:
        copy = target.add_stream_from_template(stream)
    except (av.error.FFmpegError, ValueError) as error:
        raise _CantCopyError(f"an .mp4 can't hold it as it is ({error})") from error
    if stream.codec_context.name == "hevc":
        copy.codec_context.codec_tag = "hvc1"  # the only one of its two tags that Apple's players take
    shift = round(timeline.zero / stream.time_base)

    def packets() -> Iterator[Any]:
        for packet in source.demux(stream):
            if packet.size == 0:
                continue
            packet.pts -= shift
            packet.dts -= shift
            packet.duration = round(_packet_seconds(packet, timeline.period) / packet.time_base)
            packet.stream = copy
            yield packet

    return packets()


def _encoded(video: Path, source: Any, target: Any, timeline: _Timeline) -> Iterator[Any]:
    """Packets of the picture encoded anew for a stream that is added to `target` at once."""
    import av

    stream = source.streams.video[0]
    first = next(iter(source.decode(stream)), None)
    if first is None:
        raise VideoError(f"{video}: holds no frame that can be decoded; is it a complete video?")
    source.seek(0)
    turns = round(float(first.rotation) / 90) % 4
    width, height = (first.width, first.height) if turns % 2 == 0 else (first.height, first.width)
    made = target.add_stream("libx264", rate=stream.average_rate or 25)
    # 4:2:0 needs even sides.
    made.width, made.height, made.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
    made.options = {"crf": "18", "preset": "veryfast"}
    made.codec_context.time_base = stream.time_base
    if stream.sample_aspect_ratio and turns % 2 == 0:
        made.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio
    shift = round(timeline.zero / stream.time_base)

    def packets() -> Iterator[Any]:
        last = -1
        try:
            for frame in source.decode(stream):
                if frame.pts is None or frame.pts - shift <= last:
                    continue
                last = frame.pts - shift
                picture = frame
                if turns:
                    turned = np.rot90(frame.to_ndarray(format="rgb24"), turns)
                    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), format="rgb24")
                picture = picture.reformat(width=made.width, height=made.height, format="yuv420p")
                picture.pts, picture.time_base = last, stream.time_base
                yield from made.encode(picture)
        except av.error.InvalidDataError as error:
            raise VideoError(f"{video}: its picture can't be decoded to the end ({error}); copy it again") from error
        yield from made.encode(None)

    return packets()


def _aac(target: Any, samples: Samples, rate: int) -> Iterator[Any]:
    """Packets of the sound for a stream that is added to `target` at once."""
    import av

    layout = "mono" if len(samples) == 1 else "stereo"
    stream = target.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = _BIT_RATE if layout == "stereo" else _BIT_RATE // 2

    def packets() -> Iterator[Any]:
        for start in range(0, samples.shape[1], AAC_FRAME):
            block = np.ascontiguousarray(samples[:, start : start + AAC_FRAME], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()
