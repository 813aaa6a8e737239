"""A passage of a video: which part of it is meant, and what its timeline is then."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from d2m_cli.errors import UsageError, VideoError
from d2m_cli.ground.options import option
from d2m_cli.media.packets import DROPPED, HIDDEN
from d2m_cli.media.timeline import Part, Timeline

ROUNDED = 0.001
"""Seconds by which a moment may have been rounded: a picture that begins so little later is the one that is meant."""


@dataclass(frozen=True)
class Passage:
    """Which part of a video is meant.

    Attributes
    ----------
    start
        Seconds from time zero (`d2m_cli.media.timeline`) at which it begins.
    duration
        Seconds that it lasts; None to the end of the video.

    Raises
    ------
    UsageError
        A value is out of its range.
    """

    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < math.inf:
            raise UsageError(f"{option('start')} must be 0 s or later, not {self.start}")
        if self.duration is not None and not 0.0 < self.duration < math.inf:
            raise UsageError(f"{option('duration')} must be longer than 0 s, not {self.duration}")

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole video."""
        return self.start == 0.0 and self.duration is None

    @property
    def settings(self) -> dict[str, float | None]:
        """What of it differs from the whole video, as values that JSON can hold."""
        if self.is_whole:
            return {}
        return {"start": float(self.start), "duration": None if self.duration is None else float(self.duration)}

    def __str__(self) -> str:
        """In words."""
        if self.duration is None:
            return f"the passage from {self.start:g} s on"
        return f"the passage from {self.start:g} s to {self.start + self.duration:g} s"

    def of(self, timeline: Timeline) -> Timeline:
        """The timeline of the passage alone; its times count from where it begins.

        The picture that stands when it begins is its first, from time zero on; one that begins later keeps its
        distance. What others build on is decoded and not shown.

        Parameters
        ----------
        timeline
            Of the whole video.

        Raises
        ------
        VideoError
            It does not lie within the video, or shows no picture.
        """
        if self.is_whole:
            return timeline
        self._check(timeline)
        start = float(self.start)
        seconds = timeline.duration - start if self.duration is None else float(self.duration)
        first = max(0, int(np.searchsorted(timeline.times, start + ROUNDED, "right")) - 1)
        behind = int(np.searchsorted(timeline.times, start + seconds - ROUNDED, "left"))
        if behind <= first:
            begins = float(timeline.times[0])
            raise VideoError(f"{timeline.path}: {self} shows no picture; the first one comes at {begins:.3f} s")
        times = timeline.times[first:behind] - start
        if times[0] <= ROUNDED:
            times[0] = 0.0
        part = Part(start, first, 0 if timeline.in_sequence else _lead(timeline, first, behind))
        order = timeline.order
        shown = (order >= first) & (order < behind)
        others = np.where(order >= 0, HIDDEN, order)
        others[: part.packets] = DROPPED
        if len(timeline.keys) and not timeline.in_sequence and order[part.packets] == first:
            # What comes after a key picture and is shown before it is nothing that the passage builds on.
            others[(order >= 0) & (order < first)] = DROPPED
        heard = timeline.audio_start
        return replace(
            timeline,
            times=times,
            duration=seconds,
            zero=timeline.zero + round(start / float(timeline.time_base)),
            order=np.where(shown, order - first, others),
            audio_start=None if heard is None else max(0.0, heard - start),
            plain="only a passage of it is taken",
            part=part,
        )

    def _check(self, timeline: Timeline) -> None:
        length = timeline.duration
        if self.start >= length - ROUNDED:
            raise VideoError(
                f"{timeline.path}: {self} begins after the video, which lasts {length:.3f} s; give an earlier "
                f"{option('start')}"
            )
        if self.duration is not None and self.start + self.duration > length + ROUNDED:
            raise VideoError(
                f"{timeline.path}: {self} ends after the video, which lasts {length:.3f} s; give a shorter "
                f"{option('duration')}, or none for all from {option('start')} on"
            )


WHOLE = Passage()
"""All of a video."""


def _lead(timeline: Timeline, first: int, behind: int) -> int:
    """Number of the packet at which decoding may begin: the last key picture that is not shown after `first`."""
    order = timeline.order
    wanted = int(np.flatnonzero((order >= first) & (order < behind))[0])
    ranks = order[timeline.keys]
    usable = timeline.keys[(ranks >= 0) & (ranks <= first) & (timeline.keys <= wanted)]
    return int(usable[-1]) if len(usable) else 0
