"""Pose networks whose heads give no heat maps: RTMPose (two lines for each joint) and RTMO (people with their joints).

Both are read as rtmlib reads them (Tau-J/rtmlib, Apache-2.0), and a test holds them to it; but for colours, which go in
as the networks were trained: RTMPose on RGB (arXiv 2303.07399), RTMO on BGR of 0 to 255 (arXiv 2312.07526).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError
from d2m_cli.pose.geometry import apply_affine, invert_affine, keep_best, letterbox_matrix, warp
from d2m_cli.pose.hrnet import normalised
from d2m_cli.pose.movenet import Detections
from d2m_cli.pose.session import OnnxModel

JOINTS = 17
RTMO_SIDE, RTMO_TINY_SIDE = 640, 416
"""Of its picture, where the network leaves it free: RTMO-t was trained on smaller ones."""
RTMO_SAME = 0.45
"""Overlap of boxes beyond which two people of RTMO are one."""
GREY = 114


class RTMPose:
    """Joints of the person that a crop was made for, each from a line across and a line down (SimCC).

    Parameters
    ----------
    model
        Takes (n, 3, h, w) float32, gives (n, 17, k * w) and (n, 17, k * h).
    name
        What to call it in reports.

    Raises
    ------
    UsageError
        The network has another shape.
    """

    def __init__(self, model: OnnxModel, name: str) -> None:
        shape = model.input_shape
        if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[3] is None or len(model.outputs) != 2:
            raise UsageError(
                f"{model.path}: takes {shape}, gives {len(model.outputs)} outputs; RTMPose takes "
                "(batch, 3, height, width) and gives two lines for each joint"
            )
        self.model, self.name = model, name
        self.crop_size = (shape[3], shape[2])

    def crop_for(self, boxes: NDArray[np.float64]) -> tuple[int, int]:
        """Crop (width, height), whatever the dancer's boxes (n, 4)."""
        return self.crop_size

    def joints(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Find the joints in (n, h, w, 3) RGB crops; returns (n, 17, 3) x and y in crop pixels, score."""
        across, down = self.model(normalised(crops))
        for line, side in ((across, self.crop_size[0]), (down, self.crop_size[1])):
            if line.ndim != 3 or line.shape[1] != JOINTS or line.shape[2] % side:
                raise UsageError(
                    f"{self.model.path}: gives {line.shape} for {side} pixels, not 17 lines (COCO joints) of a whole "
                    "number of steps a pixel"
                )
        return decode_simcc(across, down, across.shape[2] / self.crop_size[0], down.shape[2] / self.crop_size[1])


def decode_simcc(across: NDArray[Any], down: NDArray[Any], steps_x: float, steps_y: float) -> NDArray[np.float64]:
    """Highest steps of (n, k, x) and (n, k, y) lines with so many steps a pixel; (n, k, 3) pixels, and mean height."""
    x, y = across.argmax(2), down.argmax(2)
    score = (across.max(2).astype(np.float64) + down.max(2)) / 2
    return np.stack([x / steps_x, y / steps_y, score], axis=2)


class RTMO:
    """People and their joints in one go: a detector, or the reader of one person in a crop.

    Its outputs are ``dets`` (1, k, 5), box and score, and ``keypoints`` (1, k, 17, 3). One picture a call: the number k
    differs from picture to picture.

    Parameters
    ----------
    model
        Takes (1, 3, h, w) float32.
    name
        What to call it in reports.

    Raises
    ------
    UsageError
        The network has other outputs.
    """

    def __init__(self, model: OnnxModel, name: str) -> None:
        shape = model.input_shape
        if len(shape) != 4 or shape[1] != 3 or set(model.outputs) != RTMO_OUTPUTS:
            raise UsageError(
                f"{model.path}: takes {shape}, gives {', '.join(model.outputs)}; RTMO takes (1, 3, height, width) and "
                "gives dets and keypoints"
            )
        model.batch = 1
        self.model, self.name = model, name
        side = RTMO_TINY_SIDE if name.lower().startswith("rtmo-t") else RTMO_SIDE
        self.crop_size = (shape[3] or side, shape[2] or side)

    def detect(self, frames: NDArray[np.uint8], least: float) -> list[Detections]:
        """See `d2m_cli.pose.detector.Detector`."""
        matrix = letterbox_matrix((frames.shape[2], frames.shape[1]), self.crop_size)
        back = invert_affine(matrix)
        found = []
        for frame in frames:
            people = self._people(warp(frame, matrix, self.crop_size, border=GREY), least)
            boxes = apply_affine(back, people.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
            joints = np.array(people.keypoints)
            joints[..., :2] = apply_affine(back, joints[..., :2])
            found.append(Detections(boxes, people.scores, joints))
        return found

    def crop_for(self, boxes: NDArray[np.float64]) -> tuple[int, int]:
        """Crop (width, height), whatever the dancer's boxes (n, 4)."""
        return self.crop_size

    def joints(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Find the joints in (n, h, w, 3) RGB crops; returns (n, 17, 3) x and y in crop pixels, score.

        Of several people in a crop it is the likeliest whose box holds the middle, or the likeliest of all. Without any
        all scores are 0.
        """
        return np.stack([_middle_person(self._people(crop, 0.0), self.crop_size) for crop in crops])

    def _people(self, picture: NDArray[np.uint8], least: float) -> Detections:
        """People in one RGB picture of the network's size."""
        given = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32))
        outputs = dict(zip(self.model.outputs, self.model(given), strict=True))
        return decode_people(outputs["dets"][0], outputs["keypoints"][0], least)


RTMO_OUTPUTS = {"dets", "keypoints"}


def decode_people(boxes: NDArray[Any], joints: NDArray[Any], least: float) -> Detections:
    """People of at least a score, second finds of one person left out.

    Parameters
    ----------
    boxes
        (k, 5) x0, y0, x1, y1, score.
    joints
        (k, 17, 3).
    least
        Score from which one counts.
    """
    likely = boxes[:, 4] >= least
    boxes, joints = boxes[likely].astype(np.float64), joints[likely].astype(np.float64)
    kept = keep_best(boxes[:, :4], boxes[:, 4], RTMO_SAME)
    return Detections(boxes[kept, :4], boxes[kept, 4], joints[kept])


def _middle_person(people: Detections, size: tuple[int, int]) -> NDArray[np.float64]:
    if not len(people.boxes) or people.keypoints is None:
        return np.zeros((JOINTS, 3))
    middle = np.array(size) / 2
    holds = ((people.boxes[:, :2] <= middle) & (people.boxes[:, 2:] >= middle)).all(1)
    best = int(np.argmax(people.scores + holds * (1.0 + people.scores.max())))
    return np.asarray(people.keypoints[best], np.float64)
