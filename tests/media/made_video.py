"""What a made video holds, as it was written: the right answer that readers of it are held to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.media.pattern import UPRIGHT, Orientation
from tests.media.writing import Sound, Track

_TOLERANCES = {".gif": 0.005}
_COPIED = frozenset({"libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "libsvtav1", "libvpx-vp9"})


@dataclass(frozen=True, repr=False)
class MadeVideo:
    """A written file and what a player shows of it.

    Attributes
    ----------
    path, kind
        The file, and what is particular about it.
    numbers
        Numbers of the pictures that are shown, in order.
    times
        (n,) float64 seconds: when each is shown. Time 0 is the earlier of the first picture shown and the first sound
        heard.
    seconds
        End of the last picture, from time 0.
    size
        Width and height in pixels, as displayed.
    orientation
        How the displayed picture differs from the drawn one.
    tolerance
        Seconds by which a time may differ: 1 ms, or half a tick of the container's clock if that is longer.
    seconds_tolerance
        The same for `seconds`; one picture where the file does not tell how long the last is shown.
    clicks
        When the sound of the file clicks, in seconds from time 0.
    copied
        Whether an .mp4 can hold the picture as it is; None where both are right.
    """

    path: Path
    kind: str
    numbers: tuple[int, ...]
    times: NDArray[np.float64]
    seconds: float
    size: tuple[int, int]
    orientation: Orientation
    tolerance: float
    seconds_tolerance: float
    clicks: tuple[float, ...]
    copied: bool | None

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.times) or not (np.diff(self.times) > 0).all():
            raise ValueError(f"{self.kind}: {len(self.numbers)} pictures do not fit {len(self.times)} rising times")

    def __repr__(self) -> str:
        return f"MadeVideo({self.kind}: {len(self.numbers)} pictures, {self.seconds:.3f} s)"


def describe(
    path: Path,
    kind: str,
    track: Track,
    sound: Sound | None = None,
    *,
    numbers: tuple[int, ...] | None = None,
    stamps: list[Fraction] | None = None,
    end: Fraction | None = None,
    orientation: Orientation = UPRIGHT,
    end_known: bool = True,
    copied_told: bool = True,
) -> MadeVideo:
    """What a file of a picture track, and perhaps sound, shows.

    Parameters
    ----------
    numbers, stamps, end
        Where players show other pictures, times or another end than the track holds.
    orientation
        How the displayed picture is turned.
    end_known
        Whether the file tells how long the last picture is shown.
    copied_told
        Whether the codec alone tells whether an .mp4 can hold the picture as it is.
    """
    stamps = track.stamps if stamps is None else stamps
    numbers = numbers or track.numbers or tuple(range(len(stamps)))
    end = track.end if end is None else end
    zero = stamps[0] if sound is None else min(stamps[0], sound.start)
    width, height = track.size if orientation.turn % 180 == 0 else track.size[::-1]
    tolerance = _TOLERANCES.get(path.suffix, 0.001)
    return MadeVideo(
        path=path,
        kind=kind,
        numbers=numbers,
        times=np.array([float(stamp - zero) for stamp in stamps]),
        seconds=float(end - zero),
        size=(width, height),
        orientation=orientation,
        tolerance=tolerance,
        seconds_tolerance=max(0.01, tolerance) if end_known else float(track.last / track.rate) + tolerance,
        clicks=() if sound is None else tuple(float(click - zero) for click in sound.clicks),
        copied=track.codec in _COPIED if copied_told else None,
    )
