"""How near two poses are: object keypoint similarity (COCO) and the share of correct keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COCO_SIGMAS: NDArray[np.float64] = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64) / 1000
)
"""Spread of human annotators per joint, relative to the person's size, as COCO's evaluation has it."""


def keypoint_similarity(
    first: NDArray[Any], second: NDArray[Any], area: float | NDArray[Any], weights: NDArray[Any]
) -> NDArray[np.float64]:
    """Object keypoint similarity of poses (..., 17, 2+), in 0 to 1.

    Each joint gives exp(-d^2 / (2 area (2 sigma)^2)), averaged by `weights` (..., 17); without any weight it is 0.
    `area` is that of the person in square pixels (..., ).
    """
    squared = np.sum((np.asarray(first[..., :2], np.float64) - second[..., :2]) ** 2, axis=-1)
    scale = np.maximum(np.asarray(area, np.float64), 1.0)[..., None]
    each = np.exp(-squared / (2 * scale * (2 * COCO_SIGMAS) ** 2))
    total = np.sum(weights, axis=-1)
    return np.asarray(np.sum(each * weights, axis=-1) / np.maximum(total, 1e-9) * (total > 0))


def torso_lengths(keypoints: NDArray[Any]) -> NDArray[np.float64]:
    """Distance from the middle of the shoulders to the middle of the hips of (..., 17, 2+) poses, in pixels."""
    points = np.asarray(keypoints[..., :2], np.float64)
    shoulders = (points[..., 5, :] + points[..., 6, :]) / 2
    hips = (points[..., 11, :] + points[..., 12, :]) / 2
    return np.asarray(np.linalg.norm(shoulders - hips, axis=-1))


def correct_share(reference: NDArray[Any], estimated: NDArray[Any], share: float = 0.2) -> float:
    """PCK: share of joints (t, 17, 2+) that lie within `share` of the reference's torso length."""
    if not len(reference):
        return 0.0
    limits = share * torso_lengths(reference)[:, None]
    distances = np.linalg.norm(np.asarray(reference[..., :2], np.float64) - estimated[..., :2], axis=-1)
    return float(np.mean(distances <= limits))
