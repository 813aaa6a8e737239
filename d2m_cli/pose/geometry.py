"""Boxes, and the affine crops that bring a person into a network's input and its joints back.

A box is (x0, y0, x1, y1) in pixels. The centre of the first pixel of a picture is at (0, 0), as in OpenCV.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def box_areas(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Areas of (n, 4) boxes in square pixels."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).astype(np.float64)
    return np.asarray(sides[:, 0] * sides[:, 1])


def box_overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of (n, 4) and (m, 4) boxes; (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    union = box_areas(first)[:, None] + box_areas(second)[None] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float64)


def keep_best(boxes: NDArray[Any], scores: NDArray[Any], overlap: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression; the indices kept, best score first."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for index in order:
        if not kept or box_overlaps(boxes[index : index + 1], boxes[kept]).max() <= overlap:
            kept.append(int(index))
    return np.array(kept, dtype=np.intp)


def crop_matrix(box: NDArray[Any], size: tuple[int, int], padding: float) -> NDArray[np.float64]:
    """Affine matrix (2, 3) from frame pixels to pixels of a crop that holds a padded box.

    As top-down networks are trained (mmpose's ``GetBBoxCenterScale`` and ``TopdownAffine`` without rotation): the box
    keeps its centre, is widened on one side to the aspect of `size` (width, height), then both sides grow by `padding`.
    """
    width, height = size
    centre = (np.asarray(box[:2], np.float64) + np.asarray(box[2:], np.float64)) / 2
    sides = np.maximum(np.asarray(box[2:], np.float64) - np.asarray(box[:2], np.float64), 1.0)
    covered = max(float(sides[0]), float(sides[1]) * width / height) * padding
    scale = width / covered
    offset = np.array([width / 2, height / 2]) - scale * centre
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])


def letterbox_matrix(frame_size: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """Affine matrix (2, 3) that fits a whole frame (width, height), centred, into a picture of `size`."""
    scale = min(size[0] / frame_size[0], size[1] / frame_size[1])
    # Edges map to edges: with pixel centres at whole numbers the frame reaches from -0.5 to its width - 0.5.
    offset = [(size[axis] - scale * frame_size[axis]) / 2 + scale * 0.5 - 0.5 for axis in (0, 1)]
    return np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])


def warp(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], border: int = 0
) -> NDArray[np.uint8]:
    """Picture (height, width, 3) of `size` cut from a frame by an affine matrix; averages when it shrinks much."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    frame, matrix = _shrink_first(frame, matrix, scale) if scale < 0.5 else (frame, matrix)
    cut = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(border,) * 3)
    return np.asarray(cut, dtype=np.uint8)


def _shrink_first(
    frame: NDArray[np.uint8], matrix: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Halve a frame by areas as often as needed: a bilinear sample looks at four pixels only and would alias."""
    step = 2 ** int(np.floor(np.log2(1 / scale)))
    height, width = max(1, frame.shape[0] // step), max(1, frame.shape[1] // step)
    small = np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    grow = np.array([frame.shape[1] / width, frame.shape[0] / height])
    back = np.vstack([np.column_stack([np.diag(grow), (grow - 1) / 2]), [0, 0, 1]])
    return small, np.asarray((np.vstack([matrix, [0, 0, 1]]) @ back)[:2])


def apply_affine(matrix: NDArray[np.float64], points: NDArray[Any]) -> NDArray[np.float64]:
    """Carry (..., 2) points through a (2, 3) matrix."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def invert_affine(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) matrix that undoes another."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])
