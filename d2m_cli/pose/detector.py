"""Person detectors: MultiPose (embedded), and RTMDet, RTMO or NanoDet from an .onnx file.

Which family a file belongs to is read off its outputs, so that naming the file is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option
from d2m_cli.pose.geometry import apply_affine, invert_affine, keep_best, letterbox_matrix, warp
from d2m_cli.pose.heads import RTMO, RTMO_OUTPUTS
from d2m_cli.pose.metrics import keypoint_similarity
from d2m_cli.pose.movenet import Detections, MultiPose
from d2m_cli.pose.session import OnnxModel
from d2m_cli.pose.weights import network_name, network_path, pose_weights

BGR_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
BGR_STD = np.array([57.375, 57.12, 58.395], np.float32)
PADDING = 114
SAME_BOX = 0.6
"""Overlap of boxes beyond which two detections are one person..."""

SAME_POSE = 0.7
"""...and, from a detector of joints, the similarity beyond which they are."""


class Detector(Protocol):
    """Finds people in frames."""

    name: str
    model: OnnxModel

    def detect(self, frames: NDArray[np.uint8], least: float) -> list[Detections]:
        """People in each of (n, h, w, 3) RGB frames whose score is at least `least`; pixels of the frames."""
        ...


class RTMDet:
    """RTMDet with its suppression inside the graph: ``dets`` (1, k, 5) and ``labels`` (1, k), label 0 a person.

    One picture a call: the number k differs from picture to picture, and the graph's suppression takes no batch.
    """

    def __init__(self, model: OnnxModel, name: str) -> None:
        self.model, self.name = model, name
        self._size = _input_size(model, default=320)

    def detect(self, frames: NDArray[np.uint8], least: float) -> list[Detections]:
        """See `Detector`."""
        pictures, back = _prepare(frames, self._size)
        found = []
        for picture in pictures:
            outputs = dict(zip(self.model.outputs, self.model(picture[None]), strict=True))
            rows, labels = outputs["dets"][0], outputs["labels"][0]
            people = rows[(labels == 0) & (rows[:, 4] >= least)].astype(np.float64)
            found.append(Detections(_carry(back, people[:, :4]), people[:, 4]))
        return found


class NanoDet:
    """NanoDet (generalised focal loss): for each stride class scores (n, cells, 80) and edge distances (n, cells, 44).

    A distance is the mean of a softmax over 0 to 10 strides; the anchor is the middle of the cell.
    """

    def __init__(self, model: OnnxModel, name: str) -> None:
        self.model, self.name = model, name
        self._size = _input_size(model, default=416)

    def detect(self, frames: NDArray[np.uint8], least: float) -> list[Detections]:
        """See `Detector`."""
        pictures, back = _prepare(frames, self._size)
        outputs = sorted(self.model(pictures), key=lambda output: (-output.shape[1], output.shape[2] != 44))
        found = []
        for index in range(len(frames)):
            boxes, scores = zip(
                *(
                    _nanodet_boxes(distances[index], classes[index], self._size)
                    for distances, classes in zip(outputs[::2], outputs[1::2], strict=True)
                ),
                strict=True,
            )
            box, score = np.concatenate(boxes), np.concatenate(scores)
            likely = score >= least
            box, score = box[likely], score[likely]
            kept = keep_best(box, score, SAME_BOX)
            found.append(Detections(_carry(back, box[kept]), score[kept]))
        return found


def _nanodet_boxes(
    distances: NDArray[Any], classes: NDArray[Any], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (cells, 4) in input pixels and person scores (cells,) of one stride."""
    stride = round(float(np.sqrt(size[0] * size[1] / len(classes))))
    columns = size[0] // stride
    y, x = np.divmod(np.arange(len(classes)), columns)
    bins = distances.reshape(len(classes), 4, -1).astype(np.float64)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    edges = (weights * np.arange(bins.shape[2])).sum(axis=2) / weights.sum(axis=2) * stride
    middle = np.stack([x + 0.5, y + 0.5], axis=1) * stride
    return np.concatenate([middle - edges[:, :2], middle + edges[:, 2:]], axis=1), classes[:, 0].astype(np.float64)


def _input_size(model: OnnxModel, default: int) -> tuple[int, int]:
    """(width, height) that a (batch, 3, h, w) network takes."""
    _, _, height, width = model.input_shape
    return width or default, height or default


def _prepare(frames: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Pictures (n, 3, h, w) BGR normalised as both families are trained, and the matrix back to frame pixels."""
    matrix = letterbox_matrix((frames.shape[2], frames.shape[1]), size)
    pictures = np.stack([warp(frame, matrix, size, border=PADDING) for frame in frames])
    normal = (pictures[..., ::-1].astype(np.float32) - BGR_MEAN) / BGR_STD
    return normal.transpose(0, 3, 1, 2), invert_affine(matrix)


def _carry(matrix: NDArray[np.float64], boxes: NDArray[Any]) -> NDArray[np.float64]:
    return apply_affine(matrix, boxes.reshape(-1, 2, 2)).reshape(-1, 4)


def without_doubles(people: Detections) -> Detections:
    """Drop second detections of one person: boxes that overlap much, and for joints poses that agree as well."""
    if len(people.boxes) < 2 or people.keypoints is None:
        return people
    kept: list[int] = []
    areas = np.prod(np.clip(people.boxes[:, 2:] - people.boxes[:, :2], 1, None), axis=1)
    for index in np.argsort(-people.scores, kind="stable"):
        pose = people.keypoints[index]
        weights = np.minimum(people.keypoints[kept][..., 2], pose[None, :, 2])
        alike = keypoint_similarity(people.keypoints[kept], pose[None], areas[kept], weights)
        if not (alike > SAME_POSE).any():
            kept.append(int(index))
    return Detections(people.boxes[kept], people.scores[kept], people.keypoints[kept])


def load_detector(spec: str, device: str, batch: int, side: int, tell: Callable[[str], None] | None = None) -> Detector:
    """Load "multipose", or an RTMDet, RTMO or NanoDet network by its name or from a path.

    Parameters
    ----------
    spec
        "multipose", a name of the catalogue such as "rtmo-s", or the path of an .onnx file.
    device, batch, tell
        As for `OnnxModel`.
    side
        Longer side of MultiPose's picture.

    Raises
    ------
    MissingWeightsError
        No such file.
    UsageError
        Outputs of no known family.
    MemoryError
        There is no memory for the network.
    """
    if spec == "multipose":
        return MultiPose(OnnxModel(pose_weights("movenet-multipose"), device, batch, tell=tell), side)
    path = network_path(spec.removeprefix("rtmo:"))
    model = OnnxModel(path, device, batch, tell=tell)
    if set(model.outputs) == RTMO_OUTPUTS:
        return RTMO(model, network_name(spec))
    if set(model.outputs) == {"dets", "labels"}:
        model.batch = 1
    if len(model.input_shape) == 4 and model.input_shape[1] == 3:
        if set(model.outputs) == {"dets", "labels"}:
            return RTMDet(model, path.stem)
        if len(model.outputs) == 6:
            return NanoDet(model, path.stem)
    raise UsageError(
        f"{path}: outputs {', '.join(model.outputs)} fit no known person detector; "
        f"give an RTMDet (dets, labels), an RTMO (dets, keypoints) or a NanoDet network, or use "
        f"{option('detector', 'multipose')}"
    )
