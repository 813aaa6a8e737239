"""When the pictures of a video are shown: read once from its packets, and the same for everyone who needs it.

Time zero is where a player's clock starts: the first shown picture or the first sound, whichever comes first. A picture
track that begins after the sound keeps its distance to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.media.orientation import Orientation

LONGEST = 24 * 3600.0
"""Seconds a video may last."""
LONGEST_GAP = 600.0
"""Seconds a picture may stand; more is a damaged time stamp."""

Tell = Callable[[int], None]
"""Told how many packets or pictures have come so far."""


@dataclass(frozen=True)
class Colour:
    """How the values of a picture are to be read, as FFmpeg names and numbers it (ITU-T H.273).

    Attributes
    ----------
    pixel_format
        Such as "yuv420p" or "yuv420p10le".
    full_range, matrix, transfer, primaries
        Numbers of FFmpeg's AVColorRange (2 is full), AVColorSpace, AVColorTransferCharacteristic and AVColorPrimaries.
    """

    pixel_format: str
    full_range: int
    matrix: int
    transfer: int
    primaries: int


@dataclass(frozen=True)
class Part:
    """Where the passage that a timeline tells of lies in its film; see `d2m_cli.media.passage`.

    Attributes
    ----------
    start
        Seconds from the film's time zero at which it begins.
    pictures
        Shown pictures of the film before its first.
    packets
        Packets of the track before the one at which decoding may begin.
    """

    start: float
    pictures: int
    packets: int


@dataclass(frozen=True, repr=False)
class Timeline:
    """What one video file holds, and when each of its pictures is shown.

    Attributes
    ----------
    path
        The file.
    container
        FFmpeg's name of its format, the first where there are several: "mov", "matroska", "mpegts".
    stream
        Number of the picture track among all tracks.
    codec
        Name of its codec, such as "h264".
    width, height
        Size of the displayed picture in pixels, turned as players do.
    orientation
        How the stored picture is turned and mirrored.
    colour
        How its values are to be read.
    fps
        Mean frame rate in 1/s.
    times
        (n,) float64: when each shown picture begins, in seconds from time zero, rising.
    duration
        Where the last picture ends, in seconds from time zero.
    zero
        The container's time, in ticks of `time_base`, that is time zero.
    time_base
        Seconds a tick.
    order
        (packets,) int64: number of the picture that each packet of the track holds, in the order of decoding; below 0
        where it is not shown (`d2m_cli.media.packets`).
    in_sequence
        Packets don't tell which picture they hold: pictures come in order out of the decoder.
    audio_start
        Seconds at which the sound begins, or None without sound.
    plain
        None where every decoder must show the same, else what stands in the way, in words.
    notes
        What was mended or passed over, in words.
    keys
        (k,) int64: numbers of the packets from which decoding may begin, rising.
    part
        None for the whole film; else all above is that of a passage of it, whose first moment is time zero.
    """

    path: Path
    container: str
    stream: int
    codec: str
    width: int
    height: int
    orientation: Orientation
    colour: Colour
    fps: float
    times: NDArray[np.float64]
    duration: float
    zero: int
    time_base: Fraction
    order: NDArray[np.int64]
    in_sequence: bool
    audio_start: float | None
    plain: str | None
    notes: tuple[str, ...] = ()
    keys: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    part: Part | None = None

    def __post_init__(self) -> None:
        times = self.times
        if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
            raise ValueError("times must be a rising, finite vector")
        if not times[-1] < self.duration <= LONGEST:
            raise ValueError(f"a video ends after its last picture and within a day, not at {self.duration} s")

    def __repr__(self) -> str:
        return (
            f"Timeline({self.container}/{self.codec}, {self.width}x{self.height}, {self.frames} pictures in "
            f"{self.duration:.3f} s)"
        )

    @property
    def frames(self) -> int:
        """Number of pictures."""
        return len(self.times)

    @property
    def rotation(self) -> int:
        """Degrees by which the stored picture is turned clockwise."""
        return self.orientation.rotation

    @property
    def has_audio(self) -> bool:
        """Whether there is sound."""
        return self.audio_start is not None


def silent(count: int) -> None:
    """Takes signs of life where nobody waits for them."""
