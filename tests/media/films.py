"""What tests of written films need: small videos of known values, and what is read off a film."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from scipy.signal import correlate

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
        stream: Any = container.add_stream(codec, rate=25)
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
        kind: Any = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
        rows = [np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]
        return [row.copy() for row in rows]


def lag(decoded: np.ndarray, original: np.ndarray) -> int:
    """Samples by which the decoded sound lies behind the original, by cross-correlation over +-200 ms."""
    reach = 8000
    length = min(len(decoded), len(original))
    padded = np.pad(decoded[:length].astype(np.float64), reach)
    return int(np.argmax(correlate(padded, original[:length], mode="valid"))) - reach
