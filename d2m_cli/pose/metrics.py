"""How near two poses are: object keypoint similarity (COCO)."""

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
