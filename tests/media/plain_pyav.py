"""What PyAV alone reads of a file, as plainly as can be: the independent side of the comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from tests.media.pattern import Orientation, read


@dataclass(frozen=True)
class Seen:
    """Pictures of a file.

    Attributes
    ----------
    numbers, orientation
        As read off the pictures, turned as the display matrix says.
    times
        (n,) float64 seconds on the clock of the file.
    """

    numbers: tuple[int, ...]
    times: NDArray[np.float64]
    orientation: Orientation


def shown_stream(container: Any) -> Any:
    """The video stream that players show: the one marked default, never a cover."""
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return next((stream for stream in films if stream.disposition & Disposition.default), films[0])


def see(path: Path) -> Seen:
    """Decode all pictures of the stream that players show."""
    numbers, times, orientations = [], [], set()
    with av.open(str(path)) as container:
        for frame in container.decode(shown_stream(container)):
            picture = displayed(frame)
            number, orientation = read(picture)
            numbers.append(number)
            orientations.add(orientation)
            times.append(float(frame.pts * frame.time_base))
    (orientation,) = orientations
    return Seen(tuple(numbers), np.array(times), orientation)


def displayed(frame: Any) -> NDArray[np.uint8]:
    """Picture of a frame as its display matrix turns and mirrors it, (h, w, 3) uint8."""
    picture = frame.to_ndarray(format="rgb24")
    for side in frame.side_data:
        if side.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = np.frombuffer(bytes(side), np.int32) / 65536
            return place(a, b, c, d).apply(picture)
    return picture


def place(a: float, b: float, c: float, d: float) -> Orientation:
    """Orientation of a matrix that puts pixel (x, y) to (a x + c y, b x + d y)."""
    for mirrored in (False, True):
        for turn in (0, 90, 180, 270):
            cos, sin = round(np.cos(np.radians(turn))), round(np.sin(np.radians(turn)))
            across = -1 if mirrored else 1
            if np.allclose((a, b, c, d), (across * cos, across * sin, -sin, cos), atol=1e-3):
                return Orientation(turn, mirrored)
    raise ValueError(f"({a}, {b}, {c}, {d}) is no turn by quarters")


def start(path: Path) -> float:
    """Start of the file in seconds on its clock."""
    with av.open(str(path)) as container:
        return float(container.start_time) / 1e6


def ends(path: Path) -> tuple[float, float]:
    """Seconds from the start of the file to the end of the last shown picture, and to the end of the sound."""
    with av.open(str(path)) as container:
        zero = container.start_time / av.time_base
        sound = container.streams.audio[0]
        heard = float((sound.start_time + sound.duration) * sound.time_base)
        shown = max(
            float((packet.pts + packet.duration) * packet.time_base)
            for packet in container.demux(shown_stream(container))
            if packet.size and not packet.is_discard
        )
    return shown - zero, heard - zero


def hear(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sound: time of every sample on the clock of the file, and its level, (n,) both."""
    times, loud = [], []
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        for frame in container.decode(audio=0):
            if frame.pts is None:
                continue
            channels = frame.to_ndarray().astype(np.float64).reshape(-1, frame.samples, order="F")
            times.append(float(frame.pts * frame.time_base) + np.arange(frame.samples) / rate)
            loud.append(np.abs(channels).max(axis=0))
    return np.concatenate(times), np.concatenate(loud)


def clicks(times: NDArray[np.float64], loud: NDArray[np.float64]) -> NDArray[np.float64]:
    """When clicks are heard: times at which the level first passes half its peak after 50 ms below it."""
    over = times[loud > loud.max() / 2]
    return over[np.diff(over, prepend=-np.inf) > 0.05]
