"""Tiny videos to try decoders with, and the beginning of a video."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from d2m_cli.ground.privileges import open_encoder

FRAMES, WIDTH, HEIGHT, RATE = 12, 160, 96, 25
"""Of a tiny video: pictures, their size in pixels, and pictures a second."""


@dataclass(frozen=True)
class Kind:
    """A kind of video that people have.

    Attributes
    ----------
    suffix
        Of its files.
    encoder, codec
        FFmpeg's names of what writes its pictures, and of what they are written in.
    called
        What people call that.
    pixels
        FFmpeg's name of how a picture is stored.
    """

    suffix: str
    encoder: str
    codec: str
    called: str
    pixels: str = "yuv420p"

    @property
    def name(self) -> str:
        """For people: ".mp4 (H.264)"."""
        return f"{self.suffix} ({self.called})"


KINDS = (
    Kind(".mp4", "libx264", "h264", "H.264"),
    Kind(".mp4", "libx265", "hevc", "HEVC"),
    Kind(".mp4", "libsvtav1", "av1", "AV1"),
    Kind(".mov", "prores_ks", "prores", "ProRes", "yuv422p10le"),
    Kind(".mkv", "libvpx-vp9", "vp9", "VP9"),
    Kind(".webm", "libvpx", "vp8", "VP8"),
    Kind(".avi", "mpeg4", "mpeg4", "MPEG-4"),
    Kind(".mpg", "mpeg2video", "mpeg2video", "MPEG-2"),
    Kind(".wmv", "wmv2", "wmv2", "WMV"),
)
USUAL = KINDS[0]
"""What nearly all videos are; and what d2m itself writes."""

_QUICK = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
}


def write_clip(path: Path, kind: Kind) -> None:
    """Write a tiny video, whose left half is black and whose right half grows brighter from picture to picture.

    Parameters
    ----------
    path
        The file.
    kind
        What to write.

    Raises
    ------
    av.error.FFmpegError, ValueError
        This FFmpeg can't write that.
    """
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(kind.encoder, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, kind.pixels
        stream.options = _QUICK.get(kind.encoder, {})
        open_encoder(stream)
        for number in range(FRAMES):
            picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            picture[:, WIDTH // 2 :] = brightness(number)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def brightness(number: int) -> int:
    """Of the right half of a picture, 0 to 255."""
    return 60 + 12 * number


def write_beginning(video: Path, path: Path, seconds: float) -> None:
    """Write the first seconds of a video as H.264.

    Parameters
    ----------
    video
        The video.
    path
        The .mp4 to write.
    seconds
        How much of it.

    Raises
    ------
    av.error.FFmpegError
        FFmpeg can't read or write that.
    """
    import av

    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        rate = Fraction(stream.average_rate or RATE)
        made: Any = target.add_stream("libx264", rate=rate)
        made.width, made.height, made.pix_fmt = stream.width, stream.height, "yuv420p"
        made.options = {"preset": "ultrafast"}
        for number, frame in enumerate(source.decode(stream)):
            if number >= seconds * rate:
                break
            # Numbered anew by the encoder, and key frames where it wants them.
            frame.pts, frame.time_base, frame.pict_type = number, 1 / rate, 0
            target.mux(made.encode(frame))
        target.mux(made.encode(None))
