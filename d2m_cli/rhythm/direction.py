"""Acceleration by direction: Eq. 4-7 of Sec. 3.2, as the paper words them and as the published code computes them.

Both take raw pixels, as the authors do: no smoothing, no scores. Index ``i`` of their results stands for the movement
over the frames ``i``, ``i + 1`` and ``i + 2``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PUBLISHED_BINS = 10


def joint_velocity(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitude V and angle theta of the first difference of keypoints (Eq. 6).

    Parameters
    ----------
    points
        (T, J, 2) pixels.

    Returns
    -------
    V in pixels per frame and theta in radians within -pi to pi, both (T - 1, J).
    """
    step = np.diff(points.astype(np.float64), axis=0)
    return np.hypot(step[..., 0], step[..., 1]), np.arctan2(step[..., 1], step[..., 0])


def paper_acceleration(points: NDArray[np.floating], sectors: int = 10) -> NDArray[np.float64]:
    """Total acceleration a(t) in the paper's words (Eq. 4-7).

    The circle is cut into ``sectors`` equal intervals of 2 pi / K; each joint's speed goes into the interval of its
    direction; positive first differences of that are summed over joints and intervals.

    Parameters
    ----------
    points
        (T, J, 2) pixels.
    sectors
        K of Eq. 5; the paper does not state it.

    Returns
    -------
    (max(T - 2, 0),) pixels per frame squared.
    """
    if len(points) < 3:
        return np.zeros(0)
    speed, angle = joint_velocity(points)
    index = np.floor(np.mod(angle, 2.0 * np.pi) / (2.0 * np.pi / sectors)).astype(int)
    index = np.minimum(index, sectors - 1)  # an angle a hair under 0 comes out of the modulo as 2 pi
    by_direction = speed[..., None] * (index[..., None] == np.arange(sectors))
    total: NDArray[np.float64] = np.maximum(np.diff(by_direction, axis=0), 0.0).sum(axis=(1, 2))
    return total


def published_acceleration(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The envelope of the published code, which departs from Eq. 4-7.

    The angle is taken in degrees modulo 180, and single degrees are dealt out in turn over ten bins; speeds are summed
    over the joints before the difference; the result is divided by its maximum.

    Parameters
    ----------
    points
        (T, J, 2) pixels.

    Returns
    -------
    (max(T - 2, 0),) between 0 and 1; all 0 where nothing moves.
    """
    if len(points) < 3:
        return np.zeros(0)
    speed, angle = joint_velocity(points)
    index = np.floor(np.mod(np.degrees(angle), 180.0)).astype(int) % PUBLISHED_BINS
    by_bin = (speed[..., None] * (index[..., None] == np.arange(PUBLISHED_BINS))).sum(axis=1)
    rise: NDArray[np.float64] = np.maximum(np.diff(by_bin, axis=0), 0.0).sum(axis=1)
    top = float(rise.max())
    if top > 0.0:
        rise /= top
    return rise
