"""Rotations as stacks of 3 x 3 matrices."""

from __future__ import annotations

import numpy as np

from .skeleton import Array


def unit(vectors: Array) -> Array:
    """Vectors scaled to length 1 along the last axis."""
    scaled: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return scaled


def about(axis: int, angle: Array) -> Array:
    """Rotation by `angle` (T,) radians about a coordinate axis, (T, 3, 3)."""
    angle = np.asarray(angle, dtype=float)
    out = np.zeros((*angle.shape, 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1.0
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., j, i] = np.sin(angle)
    out[..., i, j] = -out[..., j, i]
    return out


def from_yaw_pitch_roll(angles: Array) -> Array:
    """(T, 3) turn to the dancer's left, lean forward, lean to the dancer's left, in radians, to (T, 3, 3)."""
    return about(2, angles[:, 0]) @ about(0, angles[:, 1]) @ about(1, angles[:, 2])


def from_vector(vector: Array) -> Array:
    """Rotation vectors (T, 3) to matrices by Rodrigues' formula."""
    angle = np.linalg.norm(vector, axis=-1)
    axis = unit(vector)
    cross = np.zeros((*angle.shape, 3, 3))
    cross[..., 0, 1], cross[..., 0, 2] = -axis[..., 2], axis[..., 1]
    cross[..., 1, 0], cross[..., 1, 2] = axis[..., 2], -axis[..., 0]
    cross[..., 2, 0], cross[..., 2, 1] = -axis[..., 1], axis[..., 0]
    sine, cosine = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    turned: Array = np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
    return turned


def to_vector(rotation: Array) -> Array:
    """Matrices (T, 3, 3) to rotation vectors; angles must stay clear of a half turn."""
    angle = np.arccos(np.clip((np.trace(rotation, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
    axis = np.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        axis=-1,
    )
    vector: Array = unit(axis) * angle[..., None]
    return vector


def shortest_arc(start: Array, end: Array) -> Array:
    """The least rotation that carries unit vectors `start` (3,) to `end` (T, 3)."""
    axis = np.cross(np.broadcast_to(start, end.shape), end)
    angle = np.arctan2(np.linalg.norm(axis, axis=-1), end @ start)
    return from_vector(unit(axis) * angle[..., None])


def frame(first: Array, second: Array) -> Array:
    """Orthonormal frames with columns first, second made perpendicular to it, and their cross product."""
    second = unit(second - (second * first).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], axis=-1)
