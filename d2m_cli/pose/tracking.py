"""Who is who: detections of single frames tied into tracks that keep their person through crossings and gaps.

Three cues are compared between where a track should be now and each detection: the boxes' overlap, the joints'
similarity (OKS), and the colours of chest and thighs. The best assignment over all pairs is taken (Hungarian method),
sure detections first, doubtful ones only to go on with a track. Pieces of one dancer's track that a long gap left
apart are joined at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from d2m_cli.pose.geometry import box_areas, box_overlaps
from d2m_cli.pose.metrics import keypoint_similarity
from d2m_cli.pose.movenet import Detections

SURE = 0.2
"""Score from which a detection may start a track."""

MOST_COST = 0.75
"""A pair that costs more than this (of 1) is not the same person."""

REMEMBERED = 2.0
"""Seconds that a track waits for its dancer to come back."""

JOINED = 4.0
"""Seconds over which pieces of a track are joined afterwards."""

REACH = 1.2
"""How far a dancer may be from where they were expected, in box heights, plus as much again per second unseen."""

COLOUR_SPREAD = 18.0
"""Difference of CIE Lab colours at which two patches stop looking alike."""

OTHER_CLOTHES = 0.3
"""Likeness of colours below which somebody who was out of sight is not taken for the same person."""

OUT_OF_SIGHT = 0.5
"""Seconds without a detection after which clothes decide alone."""

APART = 0.25
"""Overlap of boxes up to which colours are read: beyond it they may be the other person's."""

_PATCHES = ((5, 6, 12, 11), (11, 12, 14, 13))
"""Joints around the chest and the thighs."""


@dataclass
class Track:
    """One dancer as tied together so far; grows while the video is read.

    Attributes
    ----------
    frames, times
        Where the dancer was detected: frame numbers, and seconds.
    boxes
        (4,) pixels each.
    keypoints
        (17, 3) each, or empty with a detector of boxes.
    scores
        Detection scores.
    colours
        Mean Lab colours of the patches (2, 3), NaN where never seen.
    """

    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    keypoints: list[NDArray[np.float64]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    colours: NDArray[np.float64] = field(default_factory=lambda: np.full((2, 3), np.nan))
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def expected(self, time: float) -> NDArray[np.float64]:
        """Box at a later time: the last one, moved on at its speed, which is trusted for half a second."""
        ahead = min(time - self.times[-1], 0.5)
        return self.boxes[-1] + np.tile(self.speed * ahead, 2)

    def prominence(self) -> float:
        """How much of the video this dancer fills: size, certainty and presence together."""
        return float(np.sum(np.sqrt(box_areas(np.stack(self.boxes))) * np.array(self.scores)))


class Tracker:
    """Ties the detections of frames, given in order, into tracks."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []

    def add(self, frame: int, time: float, people: Detections, picture: NDArray[np.uint8] | None = None) -> None:
        """Take in the people of one frame; `picture` (h, w, 3) RGB gives the colours."""
        colours = patch_colours(picture, people)
        live = [track for track in self.tracks if time - track.times[-1] <= REMEMBERED]
        sure = np.flatnonzero(people.scores >= SURE)
        doubtful = np.flatnonzero(people.scores < SURE)
        taken = self._assign(frame, time, live, people, colours, sure)
        rest = [track for track in live if track.times[-1] < time]
        self._assign(frame, time, rest, people, colours, doubtful)
        for index in sure:
            if index not in taken:
                track = Track()
                self.tracks.append(track)
                _extend(track, frame, time, people, colours, int(index))

    def _assign(
        self,
        frame: int,
        time: float,
        tracks: list[Track],
        people: Detections,
        colours: NDArray[np.float64],
        indices: NDArray[np.intp],
    ) -> set[int]:
        """Give each track its detection among `indices`; returns those that found a track."""
        if not tracks or not len(indices):
            return set()
        costs = np.stack([_costs(track, time, people, colours, indices) for track in tracks])
        taken = set()
        for row, column in zip(*linear_sum_assignment(costs), strict=True):
            if costs[row, column] <= MOST_COST:
                _extend(tracks[row], frame, time, people, colours, int(indices[column]))
                taken.add(int(indices[column]))
        return taken

    def finish(self) -> list[Track]:
        """All tracks, pieces joined, most prominent first."""
        joined = join_pieces(self.tracks)
        return sorted(joined, key=lambda track: -track.prominence())


def _costs(
    track: Track, time: float, people: Detections, colours: NDArray[np.float64], indices: NDArray[np.intp]
) -> NDArray[np.float64]:
    """How unlike (0 same, 1 different, more out of reach) a track and each detection are."""
    expected = track.expected(time)
    boxes = people.boxes[indices]
    overlap = box_overlaps(expected[None], boxes)[0]
    height = max(float(np.max(expected[2:] - expected[:2])), 1.0)
    distance = np.linalg.norm((boxes[:, :2] + boxes[:, 2:] - expected[:2] - expected[2:]) / 2, axis=1) / height
    reach = REACH * (0.5 + (time - track.times[-1]))
    near = np.clip(1 - distance / reach, 0, 1)
    cues, weights = [overlap, near], [1.0, 0.5]
    if people.keypoints is not None and track.keypoints:
        cues.append(_joint_likeness(track, expected, people.keypoints[indices]))
        weights.append(1.0)
    alike = colour_likeness(track.colours, colours[indices])
    seen = np.isfinite(alike)
    total = sum(weight * cue for weight, cue in zip(weights, cues, strict=True)) + 1.5 * np.where(seen, alike, 0)
    cost = 1 - total / (sum(weights) + 1.5 * seen)
    changed = seen & (alike < OTHER_CLOTHES) & (time - track.times[-1] > OUT_OF_SIGHT)
    return np.where((distance > reach) | changed, 2.0, cost)


def _joint_likeness(track: Track, expected: NDArray[np.float64], keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    last = track.keypoints[-1].copy()
    last[:, :2] += (expected[:2] + expected[2:] - track.boxes[-1][:2] - track.boxes[-1][2:]) / 2
    weights = np.minimum(last[None, :, 2], keypoints[..., 2])
    # Limbs move between frames: the person is taken as twice as large, which makes the comparison more lenient.
    area = 4 * box_areas(expected[None])[0]
    return keypoint_similarity(keypoints, last[None], np.full(len(keypoints), area), weights)


def _extend(
    track: Track, frame: int, time: float, people: Detections, colours: NDArray[np.float64], index: int
) -> None:
    box = people.boxes[index]
    if track.times and time > track.times[-1]:
        now = (box[:2] + box[2:] - track.boxes[-1][:2] - track.boxes[-1][2:]) / 2 / (time - track.times[-1])
        track.speed = 0.6 * track.speed + 0.4 * now
    others = np.delete(people.boxes, index, axis=0)
    if not len(others) or box_overlaps(box[None], others).max() <= APART:
        fresh = np.isnan(track.colours)
        mixed = np.where(fresh, colours[index], 0.9 * track.colours + 0.1 * colours[index])
        track.colours = np.where(np.isnan(mixed), track.colours, mixed)
    track.frames.append(frame)
    track.times.append(time)
    track.boxes.append(box)
    if people.keypoints is not None:
        track.keypoints.append(people.keypoints[index])
    track.scores.append(float(people.scores[index]))


def patch_colours(picture: NDArray[np.uint8] | None, people: Detections) -> NDArray[np.float64]:
    """Mean Lab colours (n, 2, 3) of chest and thighs; NaN where a patch can't be seen."""
    colours = np.full((len(people.boxes), 2, 3), np.nan)
    if picture is None:
        return colours
    for person in range(len(people.boxes)):
        for patch in range(2):
            corners = _patch_corners(people, person, patch)
            if corners is not None:
                colours[person, patch] = _mean_lab(picture, corners)
    return colours


def _patch_corners(people: Detections, person: int, patch: int) -> NDArray[np.float64] | None:
    if people.keypoints is None:
        x0, y0, x1, y1 = people.boxes[person]
        top, bottom = ((0.2, 0.45), (0.5, 0.7))[patch]
        left, right = x0 + 0.35 * (x1 - x0), x1 - 0.35 * (x1 - x0)
        height = y1 - y0
        return np.array([[left, y0 + top * height], [right, y0 + top * height], [right, y0 + bottom * height],
                         [left, y0 + bottom * height]])  # fmt: skip
    joints = people.keypoints[person, list(_PATCHES[patch])]
    return None if joints[:, 2].min() < 0.2 else joints[:, :2]


def _mean_lab(picture: NDArray[np.uint8], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean CIE Lab colour inside a polygon (4, 2); NaN where it covers no pixel."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, [width, height])
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, [width, height])
    if (high - low).min() < 2:
        return np.full(3, np.nan)
    cut = picture[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(cut.shape[:2], np.uint8)
    hull = cv2.convexHull(np.round(corners - low).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1)
    if not mask.any():
        return np.full(3, np.nan)
    rgb = cut[mask > 0].mean(axis=0, dtype=np.float64) / 255
    lab: NDArray[np.float64] = cv2.cvtColor(rgb.astype(np.float32).reshape(1, 1, 3), cv2.COLOR_RGB2Lab).ravel()
    return lab.astype(np.float64)


def colour_likeness(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Likeness, 0 to 1, of colours (2, 3) and (n, 2, 3); NaN where no patch is seen in both."""
    # Lightness counts half: shadows change it, clothes don't.
    distance = np.linalg.norm((second - first) * [0.5, 1, 1], axis=2)
    alike = np.exp(-((distance / COLOUR_SPREAD) ** 2) / 2)
    seen = np.isfinite(alike)
    total = np.where(seen, alike, 0).sum(axis=1)
    return np.where(seen.any(axis=1), total / np.maximum(seen.sum(axis=1), 1), np.nan)


def join_pieces(tracks: list[Track]) -> list[Track]:
    """Join tracks that one dancer left behind on both sides of a gap."""
    tracks = sorted(tracks, key=lambda track: track.times[0])
    while len(tracks) > 1:
        costs = np.array([[_join_cost(first, second) for second in tracks] for first in tracks])
        row, column = np.unravel_index(int(costs.argmin()), costs.shape)
        if costs[row, column] > MOST_COST:
            break
        merged = _merged(tracks[row], tracks[column])
        tracks = [track for index, track in enumerate(tracks) if index not in (row, column)]
        tracks = sorted([*tracks, merged], key=lambda track: track.times[0])
    return tracks


def _join_cost(first: Track, second: Track) -> float:
    gap = second.times[0] - first.times[-1]
    if first is second or not 0 < gap <= JOINED:
        return 2.0
    last, begin = first.boxes[-1], second.boxes[0]
    height = max(float(np.max(last[2:] - last[:2])), 1.0)
    distance = float(np.linalg.norm((last[:2] + last[2:] - begin[:2] - begin[2:]) / 2)) / height
    reach = REACH * (0.5 + gap)
    if distance > reach:
        return 2.0
    alike = float(colour_likeness(first.colours, second.colours[None])[0])
    if alike < OTHER_CLOTHES:
        return 2.0
    near = 1 - distance / reach
    return 1 - (near if np.isnan(alike) else (near + 2 * alike) / 3)


def _merged(first: Track, second: Track) -> Track:
    return Track(
        first.frames + second.frames,
        first.times + second.times,
        first.boxes + second.boxes,
        first.keypoints + second.keypoints,
        first.scores + second.scores,
        np.where(np.isnan(first.colours), second.colours, first.colours),
        second.speed,
    )
