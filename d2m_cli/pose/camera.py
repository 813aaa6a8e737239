"""How the camera moved, from what stands still in the picture.

Corners of the background are followed from a key frame to each later frame (Lucas-Kanade), and a similarity (shift,
turn, zoom) is fitted to them by RANSAC. Each frame is laid on its key frame directly, and the key frame stays until too
few of its corners are left; so a camera on a tripod gathers no drift, however long it runs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.geometry import apply_affine, invert_affine
from d2m_cli.pose.track import CameraMotion

TILES = (3, 4)
"""Rows and columns of tiles; each gives its own corners, so that one busy spot can't stand for the whole picture."""

MOST_CORNERS = 32
"""Corners of one tile."""

LEAST_EDGE = 3e-4
"""Smaller eigenvalue of the gradients (OpenCV's scale) from which a corner is more than camera noise."""

FEWEST_CORNERS = 16
"""Fewer followed corners than this say nothing about the whole picture."""

FEWEST_AGREE = 0.4
"""Share of the followed corners that must agree on one motion."""

LEFT_OVER = 0.5
"""Share of the key frame's corners below which the next key frame is taken."""

REPROJECTION = 1.0
"""Distance in frame pixels within which a corner agrees with the motion."""

STILL = 0.75
"""Largest shift of a frame corner, in frame pixels, that still counts as a camera at rest."""

MOST_LOST = 0.3
"""Share of frames that may fail before the motion is given up as unknown."""

MARGIN = 0.15
"""People's boxes are widened by this share of their sides: hair, hands and shadows move too."""

_FLOW: dict[str, Any] = {
    "winSize": (21, 21),
    "maxLevel": 3,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01),
    "minEigThreshold": 1e-3,
}


@dataclass(frozen=True)
class _KeyFrame:
    grey: NDArray[np.uint8]
    corners: NDArray[np.float32]
    to_first: NDArray[np.float64]


class CameraEstimator:
    """Takes the frames of a video in order; tells the camera's motion at the end."""

    def __init__(self) -> None:
        self._key: _KeyFrame | None = None
        self._previous: tuple[NDArray[np.uint8], NDArray[Any]] | None = None
        self._transforms: list[NDArray[np.float64]] = []
        self._lost = 0

    def add(self, frame: NDArray[np.uint8], boxes: NDArray[Any]) -> None:
        """Follow the background into the next frame (h, w, 3) RGB, outside the (n, 4) boxes of people in pixels."""
        grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        boxes = _widened(boxes)
        if self._key is None:
            self._key = _key_frame(grey, boxes, _IDENTITY)
            self._transforms.append(_IDENTITY)
        else:
            self._transforms.append(self._next(grey, boxes))
        self._previous = (grey, boxes)

    def _next(self, grey: NDArray[np.uint8], boxes: NDArray[Any]) -> NDArray[np.float64]:
        assert self._key is not None
        assert self._previous is not None
        last = self._transforms[-1]
        found = _register(self._key, grey, boxes, last)
        if found is None:
            # Too far from the key frame: try the frame just before, from where the motion is small.
            self._key = _key_frame(*self._previous, last)
            found = _register(self._key, grey, boxes, last)
        if found is None:
            self._lost += 1
            self._key = _key_frame(grey, boxes, last)
            return last
        transform, agreeing = found
        if agreeing < LEFT_OVER * len(self._key.corners):
            self._key = _key_frame(grey, boxes, transform)
        return transform

    def last_shift(self) -> float:
        """Largest distance in pixels that a corner of the frame moved from the last frame but one to the last."""
        assert self._previous is not None
        height, width = self._previous[0].shape
        last, before = self._transforms[-1], self._transforms[-2]
        return _largest_shift(_after(invert_affine(before), last)[None], width, height)

    def finish(self, times: NDArray[np.float64], scale: tuple[float, float]) -> CameraMotion | None:
        """The motion in pixels of the displayed picture.

        Parameters
        ----------
        times
            (T,) seconds of the frames given.
        scale
            Displayed pixels per frame pixel, across and down.

        Returns
        -------
        None where the background shows too little to tell; exact identities where the camera stood still.
        """
        if len(times) != len(self._transforms):
            raise ValueError(f"{len(times)} times for {len(self._transforms)} frames")
        if self._previous is None or self._lost > MOST_LOST * max(1, len(self._transforms) - 1):
            return None
        if len(self._transforms) == 1 and (self._key is None or len(self._key.corners) < FEWEST_CORNERS):
            return None
        transforms = np.stack(self._transforms)
        height, width = self._previous[0].shape
        if _largest_shift(transforms, width, height) < STILL:
            return CameraMotion(np.tile(_IDENTITY, (len(times), 1, 1)), times)
        return CameraMotion(_scaled(transforms, scale), times)


_IDENTITY = np.eye(2, 3)


def _widened(boxes: NDArray[Any]) -> NDArray[np.float64]:
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    margin = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def _key_frame(grey: NDArray[np.uint8], boxes: NDArray[Any], to_first: NDArray[np.float64]) -> _KeyFrame:
    mask = np.full(grey.shape, 255, np.uint8)
    for x0, y0, x1, y1 in np.round(boxes).astype(int):
        mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 0
    mask[cv2.cornerMinEigenVal(grey, 3) < LEAST_EDGE] = 0
    points = [np.zeros((0, 2), np.float32)]
    rows, columns = (
        np.linspace(0, length, count + 1).astype(int) for length, count in zip(grey.shape, TILES, strict=True)
    )
    for y0, y1 in itertools.pairwise(rows):
        for x0, x1 in itertools.pairwise(columns):
            corners = cv2.goodFeaturesToTrack(grey[y0:y1, x0:x1], MOST_CORNERS, 0.01, 8, mask=mask[y0:y1, x0:x1])
            if corners is not None:
                points.append(np.asarray(corners, np.float32).reshape(-1, 2) + np.array([x0, y0], np.float32))
    return _KeyFrame(grey, np.concatenate(points), to_first)


def _register(
    key: _KeyFrame, grey: NDArray[np.uint8], boxes: NDArray[Any], guess: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int] | None:
    """Matrix from this frame to the first one, and how many corners agree on it; None where that can't be told."""
    if len(key.corners) < FEWEST_CORNERS:
        return None
    start = apply_affine(invert_affine(guess), apply_affine(key.to_first, key.corners)).astype(np.float32)
    moved, ahead, _ = cv2.calcOpticalFlowPyrLK(
        key.grey, grey, key.corners, start.copy(), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **_FLOW
    )
    # The way back begins where it should end: one level is enough to see whether it stays there.
    back, behind, _ = cv2.calcOpticalFlowPyrLK(
        grey, key.grey, moved, key.corners.copy(), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **_FLOW | {"maxLevel": 0}
    )
    kept = (ahead.ravel() > 0) & (behind.ravel() > 0) & (np.linalg.norm(back - key.corners, axis=1) < REPROJECTION)
    kept &= ~_covered(moved, boxes)
    if kept.sum() < FEWEST_CORNERS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        moved[kept], key.corners[kept], method=cv2.RANSAC, ransacReprojThreshold=REPROJECTION, confidence=0.999
    )
    agreeing = int(inliers.sum()) if matrix is not None else 0
    if agreeing < max(FEWEST_CORNERS, FEWEST_AGREE * kept.sum()):
        return None
    return _after(key.to_first, np.asarray(matrix, np.float64)), agreeing


def _covered(points: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.bool_]:
    """Which (n, 2) points lie in any of the boxes."""
    inside = (points[:, None] >= boxes[None, :, :2]) & (points[:, None] <= boxes[None, :, 2:])
    return np.asarray(np.any(np.all(inside, axis=2), axis=1))


def _after(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def _largest_shift(transforms: NDArray[np.float64], width: int, height: int) -> float:
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], np.float64)
    moved = np.einsum("tij,cj->tci", transforms[:, :, :2], corners) + transforms[:, None, :, 2]
    return float(np.linalg.norm(moved - corners, axis=2).max())


def _scaled(transforms: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.float64]:
    """The same motion in larger pixels; edges map to edges, so centres move by half a pixel of difference."""
    grow = np.array(scale)
    offset = (grow - 1) / 2
    up = np.column_stack([np.diag(grow), offset])
    down = np.column_stack([np.diag(1 / grow), -offset / grow])
    return np.stack([_after(_after(up, transform), down) for transform in transforms])
