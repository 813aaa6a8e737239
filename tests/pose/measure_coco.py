"""Object keypoint similarity of the embedded networks on COCO pictures.

python tests/pose/measure_coco.py FOLDER       (test_coco.json and its pictures)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from d2m_cli.pose.geometry import apply_affine, crop_matrix, invert_affine, warp
from d2m_cli.pose.metrics import keypoint_similarity
from d2m_cli.pose.movenet import MultiPose, Thunder
from d2m_cli.pose.session import OnnxModel
from d2m_cli.pose.weights import pose_weights

PADDING = 1.25
MULTIPOSE_SIDE = 384


def read_people(folder: Path) -> list[tuple[np.ndarray, dict]]:
    """(picture (h, w, 3) RGB, annotation) of everyone with at least one visible joint."""
    import cv2

    notes = json.loads((folder / "test_coco.json").read_text())
    names = {image["id"]: image["file_name"] for image in notes["images"]}
    shown = {key: cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB) for key, name in names.items()}
    return [(shown[note["image_id"]], note) for note in notes["annotations"] if note["num_keypoints"] > 0]


def similarity(joints: np.ndarray, note: dict) -> float:
    true = np.array(note["keypoints"], float).reshape(17, 3)
    return float(keypoint_similarity(joints, true, note["area"], true[:, 2] > 0))


def by_true_boxes(network: Thunder, people: list[tuple[np.ndarray, dict]], in_squares: bool = False) -> float:
    """Mean OKS of a network of crops, given the annotated boxes."""
    values = []
    for picture, note in people:
        x, y, width, height = note["bbox"]
        box = np.array([x, y, x + width, y + height])
        size = network.crop_size if in_squares else network.crop_for(box[None])
        matrix = crop_matrix(box, size, PADDING)
        joints = network.joints(warp(picture, matrix, size)[None])[0]
        joints[:, :2] = apply_affine(invert_affine(matrix), joints[:, :2])
        values.append(similarity(joints, note))
    return float(np.mean(values))


def by_whole_pictures(network: MultiPose, people: list[tuple[np.ndarray, dict]]) -> float:
    """Mean over people of the OKS of the best of the poses found in their picture."""
    values = []
    for picture, note in people:
        poses = network.detect(picture[None], 0.05)[0].keypoints
        assert poses is not None
        values.append(max((similarity(pose, note) for pose in poses), default=0.0))
    return float(np.mean(values))


def measure(folder: Path) -> dict[str, float]:
    """Figures by name."""
    people = read_people(folder)
    thunder = Thunder(OnnxModel(pose_weights("movenet-thunder"), "cpu", 1, 1))
    multipose = MultiPose(OnnxModel(pose_weights("movenet-multipose"), "cpu", 1, 1), MULTIPOSE_SIDE)
    return {
        "movenet-thunder, true boxes": by_true_boxes(thunder, people),
        "movenet-thunder, true boxes, in squares": by_true_boxes(thunder, people, in_squares=True),
        "movenet-multipose, whole picture": by_whole_pictures(multipose, people),
    }


if __name__ == "__main__":
    for name, value in measure(Path(sys.argv[1])).items():
        print(f"{name}: mean OKS {value:.3f}")
