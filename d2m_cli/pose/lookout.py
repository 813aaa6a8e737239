"""When people are looked for: seldom where all is steady, often where it isn't.

Finding everybody costs twice what the joints of one dancer do. Frames are looked at `SELDOM` steps apart first. Where
both ends of such a stretch show the same people, sure and apart, each still near where they were, what lies between is
interpolated; else all its steps are looked at. So whoever comes, goes or crosses is seen as early as by looking at
every step, but for one who comes and goes again between two looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from d2m_cli.media.video import FrameChunk
from d2m_cli.pose.geometry import box_overlaps
from d2m_cli.pose.movenet import Detections

SELDOM = 4
"""Steps from one look to the next where all is steady."""

STEADY_SCORE = 0.3
"""Least score of everybody who is steady."""

STEADY_OVERLAP = 0.4
"""Least overlap of a steady person's boxes at both ends."""

TOUCHING = 0.02
"""Overlap of two people's boxes from which they may be taken for each other."""


class Looked(NamedTuple):
    """A frame with its number and time, and its people where it was looked at; None where it was not."""

    number: int
    time: float
    picture: NDArray[np.uint8]
    people: Detections | None


class Lookout:
    """Takes the frames of a video in order, and gives them back in order with the people in them.

    Parameters
    ----------
    detect
        Finds the people in some pictures.
    step
        Frames from one look to the next where it isn't steady.
    """

    def __init__(self, detect: Callable[[Sequence[NDArray[np.uint8]]], list[Detections]], step: int) -> None:
        self._detect, self._step = detect, step
        self._waiting: list[Looked] = []
        self._last: Looked | None = None
        self.looks = 0

    def add(self, chunk: FrameChunk) -> list[Looked]:
        """Take in some frames; returns those of which all is known."""
        fresh = [Looked(chunk.start + i, float(chunk.times[i]), frame, None) for i, frame in enumerate(chunk.frames)]
        self._waiting += fresh
        ends = self._look([frame for frame in fresh if frame.number % (SELDOM * self._step) == 0])
        if not ends:
            return []
        known = {end.number: end for end in ends}
        missing: list[Looked] = []
        before = self._last
        for end in ends:
            if before is not None:
                steps = [frame for frame in self._steps() if before.number < frame.number < end.number]
                between = self._between(before, end, steps)
                if between is None:
                    missing += steps
                else:
                    known |= {frame.number: frame for frame in between}
            before = end
        known |= {frame.number: frame for frame in self._look(missing)}
        self._last = ends[-1]
        return self._known(known, self._last.number)

    def finish(self) -> list[Looked]:
        """The frames after the last look that is seldom: all their steps are looked at."""
        known = {frame.number: frame for frame in self._look(self._steps())}
        return self._known(known, self._waiting[-1].number) if self._waiting else []

    def _steps(self) -> list[Looked]:
        return [frame for frame in self._waiting if frame.number % self._step == 0]

    def _known(self, known: dict[int, Looked], last: int) -> list[Looked]:
        """Frames up to the number of the last, with what is known; the others go on waiting."""
        done = [known.get(frame.number, frame) for frame in self._waiting if frame.number <= last]
        self._waiting = [frame for frame in self._waiting if frame.number > last]
        return done

    def _look(self, frames: list[Looked]) -> list[Looked]:
        self.looks += len(frames)
        people = self._detect([frame.picture for frame in frames]) if frames else []
        return [frame._replace(people=found) for frame, found in zip(frames, people, strict=True)]

    @staticmethod
    def _between(first: Looked, last: Looked, steps: list[Looked]) -> list[Looked] | None:
        """Steps between two looks with interpolated people; None where it isn't steady."""
        assert first.people is not None
        assert last.people is not None
        same = same_people(first.people, last.people)
        if same is None:
            return None
        share = [(frame.time - first.time) / (last.time - first.time) for frame in steps]
        return [
            frame._replace(people=_mixed(first.people, same, part)) for frame, part in zip(steps, share, strict=True)
        ]


def same_people(first: Detections, second: Detections) -> Detections | None:
    """The people of the second frame in the order of the first, where they are steady; else None."""
    count = len(first.boxes)
    if count == 0 or len(second.boxes) != count or (first.keypoints is None) != (second.keypoints is None):
        return None
    if min(first.scores.min(), second.scores.min()) < STEADY_SCORE:
        return None
    for people in (first, second):
        if (box_overlaps(people.boxes, people.boxes)[~np.eye(count, dtype=bool)] > TOUCHING).any():
            return None
    overlaps = box_overlaps(first.boxes, second.boxes)
    rows, columns = linear_sum_assignment(-overlaps)
    if overlaps[rows, columns].min() < STEADY_OVERLAP:
        return None
    keypoints = None if second.keypoints is None else second.keypoints[columns]
    return Detections(second.boxes[columns], second.scores[columns], keypoints)


def _mixed(first: Detections, second: Detections, share: float) -> Detections:
    """People a share of the way from one frame to the other."""

    def mix(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        return (1 - share) * one + share * other

    joints = None
    if first.keypoints is not None and second.keypoints is not None:
        joints = mix(first.keypoints, second.keypoints)
    return Detections(mix(first.boxes, second.boxes), mix(first.scores, second.scores), joints)
