"""MoveNet (Google, Apache-2.0): Thunder for one person in a crop, MultiPose for up to six in a frame.

The networks in ``weights/pose`` end with their convolutions and take batches; what the published graphs do after that
is done here, in the same order, and a test holds both to the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.geometry import apply_affine, invert_affine, letterbox_matrix, warp
from d2m_cli.pose.session import CUDA, OnnxModel

STRIDE = 4
"""Input pixels per cell of the output maps."""

THUNDER_SIDE = 256
"""Longer side of a crop for Thunder: that of the squares which it was trained with."""

CELL = 32
"""Sides of a crop are multiples of this."""

NARROWEST = 96
"""Shorter side of a crop at least."""

USUAL = 0.75
"""Share of a dancer's boxes that the shape of a crop is made for; others are shown smaller in it."""

MULTIPOSE_SIDE = 256
MOST_PEOPLE = 6
NEAR_JOINT = 1.7998046875
"""Cells added to the distance from the regressed joint when heat is weighed by it (the graph's constant)."""

JOINT_SPREAD = 0.300048828125
"""MultiPose: width of the bell around the regressed joint, as a share of the shorter side (the graph's constant)."""

JOINT_COUNTS = 0.126953125
"""MultiPose: score above which a joint speaks for its person (the graph's constant)."""

SAME_PEAK = 1.0132789611816406e-06


@dataclass(frozen=True, repr=False)
class Detections:
    """The people in one frame.

    Attributes
    ----------
    boxes
        (n, 4) float64 x0, y0, x1, y1 in pixels.
    scores
        (n,) float64, 0 to 1.
    keypoints
        (n, 17, 3) float64 x px, y px, score; None from a detector of boxes.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    keypoints: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        return f"Detections(n={len(self.boxes)}, keypoints={self.keypoints is not None})"


class Thunder:
    """Joints of the person in the middle of a square crop."""

    name = "movenet-thunder"
    crop_size = (THUNDER_SIDE, THUNDER_SIDE)

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    def crop_for(self, boxes: NDArray[np.float64]) -> tuple[int, int]:
        """Crop (width, height) as slim or wide as most of a dancer's boxes (n, 4).

        What lies beside a slim dancer in a square would cost time and show nothing of them. A GPU has time for squares,
        and none for planning a network for one more shape.
        """
        if self.model.provider == CUDA:
            return self.crop_size
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
        share = float(np.quantile(sides[:, 0] / sides[:, 1], USUAL))
        short = CELL * int(np.ceil(THUNDER_SIDE * min(share, 1 / share) / CELL))
        short = min(max(short, NARROWEST), THUNDER_SIDE)
        return (short, THUNDER_SIDE) if share <= 1 else (THUNDER_SIDE, short)

    def joints(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Find one person in each of (n, h, w, 3) RGB crops; returns (n, 17, 3) x and y in crop pixels, score."""
        heads = dict(zip(self.model.outputs, self.model(crops), strict=True))
        return decode_single(heads["centre"], heads["heat"], heads["regression"], heads["offset"])


@lru_cache(maxsize=16)  # for each shape of crops; the same once more for every batch costs 1 % of all
def _centre_weights(rows: int, columns: int) -> NDArray[np.float64]:
    """How much each cell counts when the person in the middle is chosen."""
    y, x = np.mgrid[:rows, :columns]
    distance = np.hypot(y - rows / 2, x - columns / 2)
    return np.asarray(1.0 / (distance + NEAR_JOINT))


def decode_single(
    centre: NDArray[Any], heat: NDArray[Any], regression: NDArray[Any], offset: NDArray[Any]
) -> NDArray[np.float64]:
    """Joints of the most central person from Thunder's maps.

    Parameters
    ----------
    centre, heat, regression, offset
        (n, 1, h, w), (n, 17, h, w), (n, 34, h, w) and (n, 34, h, w), straight from the network.

    Returns
    -------
    (n, 17, 3) float64: x and y in input pixels (cell times the stride), score.
    """
    n, joints, rows, columns = heat.shape
    weighed = centre[:, 0] * _centre_weights(rows, columns)
    best = weighed.reshape(n, -1).argmax(axis=1)
    start_y, start_x = np.divmod(best, columns)
    moves = regression.reshape(n, joints, 2, -1)[np.arange(n), :, :, best].astype(np.float64)
    guess_y, guess_x = start_y[:, None] + moves[:, :, 0], start_x[:, None] + moves[:, :, 1]
    y_grid, x_grid = np.arange(rows), np.arange(columns)
    distance = np.sqrt(
        ((y_grid - guess_y[..., None]) ** 2)[..., :, None] + ((x_grid - guess_x[..., None]) ** 2)[..., None, :]
    )
    cells = (heat / (distance + NEAR_JOINT)).reshape(n, joints, -1).argmax(axis=2)
    return _read_joints(cells, heat, offset)


def _read_joints(cells: NDArray[np.intp], heat: NDArray[Any], offset: NDArray[Any]) -> NDArray[np.float64]:
    """Position and score at the (n, 17) chosen cells, refined by the offset maps."""
    n, joints, _, columns = heat.shape
    rows_index, joint_index = np.arange(n)[:, None], np.arange(joints)
    score = heat.reshape(n, joints, -1)[rows_index, joint_index, cells]
    shift = offset.reshape(n, joints, 2, -1)[rows_index, joint_index, :, cells]
    y, x = np.divmod(cells, columns)
    return np.stack([(x + shift[..., 1]) * STRIDE, (y + shift[..., 0]) * STRIDE, score], axis=2).astype(np.float64)


class MultiPose:
    """Up to six people in a whole frame, with boxes and joints."""

    name = "movenet-multipose"

    def __init__(self, model: OnnxModel, side: int = MULTIPOSE_SIDE) -> None:
        self.model = model
        self.side = side

    def detect(self, frames: NDArray[np.uint8], least: float) -> list[Detections]:
        """Find people in (n, h, w, 3) RGB frames; those scoring below `least` are left out."""
        size = (frames.shape[2], frames.shape[1])
        canvas = _canvas(size, self.side)
        matrix = letterbox_matrix(size, canvas)
        pictures = np.stack([warp(frame, matrix, canvas) for frame in frames])
        heads = dict(zip(self.model.outputs, self.model(pictures), strict=True))
        back = invert_affine(matrix)
        found = []
        for index in range(len(frames)):
            people = decode_multi(**{name: head[index] for name, head in heads.items()})
            kept = people.scores >= least
            keypoints = people.keypoints[kept] if people.keypoints is not None else np.zeros((0, 17, 3))
            keypoints = np.concatenate([apply_affine(back, keypoints[..., :2]), keypoints[..., 2:]], axis=2)
            boxes = apply_affine(back, people.boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)
            found.append(Detections(boxes, people.scores[kept], keypoints))
        return found


def _canvas(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Picture (width, height) for MultiPose: the longer side is `side`, the other as short as multiples of 32 allow."""
    scale = side / max(size)
    return tuple(min(side, 32 * max(1, int(np.ceil(length * scale / 32)))) for length in size)  # type: ignore[return-value]


def decode_multi(
    centre: NDArray[Any],
    heat: NDArray[Any],
    regression: NDArray[Any],
    offset: NDArray[Any],
    box_size: NDArray[Any],
    box_shift: NDArray[Any],
) -> Detections:
    """All six candidates from the maps of one picture, each (channels, h, w); coordinates in input pixels."""
    joints, rows, columns = heat.shape
    cells, centres = _peaks(centre[0])
    y, x = np.divmod(cells, columns)
    boxes = _boxes(y, x, box_size.reshape(2, -1)[:, cells], box_shift.reshape(2, -1)[:, cells], (rows, columns))
    moves = regression.reshape(joints, 2, -1)[:, :, cells].astype(np.float64)
    guess_y, guess_x = y + moves[:, 0], x + moves[:, 1]
    spread = min(rows, columns) * JOINT_SPREAD
    near_y = np.exp(-((np.arange(rows) - guess_y[..., None]) ** 2) / spread)
    near_x = np.exp(-((np.arange(columns) - guess_x[..., None]) ** 2) / spread)
    inside_y = (np.arange(rows) >= boxes[:, 1:2]) & (np.arange(rows) < boxes[:, 3:4])
    inside_x = (np.arange(columns) >= boxes[:, 0:1]) & (np.arange(columns) < boxes[:, 2:3])
    weighed = heat[:, None] * (near_y * inside_y)[..., :, None] * (near_x * inside_x)[..., None, :]
    flat = weighed.reshape(joints, len(cells), -1)
    best = flat.argmax(axis=2)
    # The score of a cell is that of whichever person claims it most.
    score = flat.max(axis=1)[np.arange(joints)[:, None], best]
    shift = offset.reshape(joints, 2, -1)[np.arange(joints)[:, None], :, best]
    cell_y, cell_x = np.divmod(best, columns)
    keypoints = np.stack([(cell_x + shift[..., 1]) * STRIDE, (cell_y + shift[..., 0]) * STRIDE, score], axis=2)
    keypoints = keypoints.transpose(1, 0, 2).astype(np.float64)
    counted = keypoints[..., 2] > JOINT_COUNTS
    scores = centres * (keypoints[..., 2] * counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return Detections(np.clip(boxes * STRIDE, 0, np.tile([columns, rows], 2) * STRIDE), scores, keypoints)


def _peaks(centre: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Cells and values of the six highest peaks of a (h, w) map, each the largest within 5 by 5 cells."""
    import cv2

    # A maximum over 5 by 5 cells is a dilation; cells outside never win.
    highest = cv2.dilate(np.asarray(centre, np.float32), np.ones((5, 5), np.uint8))
    values = np.where(np.abs(centre - highest) < SAME_PEAK, centre, 0).ravel()
    cells = np.argsort(-values, kind="stable")[:MOST_PEOPLE]
    return cells, values[cells].astype(np.float64)


def _boxes(
    y: NDArray[Any], x: NDArray[Any], size: NDArray[Any], shift: NDArray[Any], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Boxes (n, 4) in cells around centres, clipped to the map."""
    half = np.maximum(size, 0) / 2
    middle_y, middle_x = y + shift[0], x + shift[1]
    rows, columns = shape
    edges = [
        np.clip(middle_x - half[1], 0, columns),
        np.clip(middle_y - half[0], 0, rows),
        np.clip(middle_x + half[1], 0, columns),
        np.clip(middle_y + half[0], 0, rows),
    ]
    return np.stack(edges, axis=1).astype(np.float64)
