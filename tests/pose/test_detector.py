from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.pose.detector import load_detector, without_doubles
from d2m_cli.pose.geometry import box_overlaps
from d2m_cli.pose.movenet import Detections


@pytest.mark.parametrize(
    ("spec", "least"), [("multipose", 0.1), ("pose/nanodet.onnx", 0.3), ("pose/rtmdet_nano_person.onnx", 0.3)]
)
def test_annotated_people_are_found(shared: Callable[[str], Path], spec: str, least: float) -> None:
    import cv2

    detector = load_detector(str(shared(spec)) if "/" in spec else spec, "cpu", 1, 384)
    notes = json.loads(shared("coco/test_coco.json").read_text())
    overlaps: list[float] = []
    for image in notes["images"]:
        picture = cv2.cvtColor(cv2.imread(str(shared("coco") / image["file_name"])), cv2.COLOR_BGR2RGB)
        found = detector.detect(picture[None], least)[0]  # type: ignore[arg-type]
        corners = [
            [x, y, x + width, y + height]
            for note in notes["annotations"]
            if note["image_id"] == image["id"] and note["num_keypoints"] > 0
            for x, y, width, height in [note["bbox"]]
        ]
        overlaps += box_overlaps(np.array(corners), found.boxes).max(axis=1).tolist()
    assert len(overlaps) == 12
    assert np.mean(overlaps) > 0.83
    assert min(overlaps) > 0.6


def test_two_poses_of_one_person_become_one() -> None:
    pose = np.random.default_rng(0).uniform(0, 100, (17, 3))
    pose[:, 2] = 0.8
    near, far = pose + np.array([1, 1, 0]), pose + np.array([200, 0, 0])
    boxes = np.array([[0.0, 0, 100, 100], [1, 1, 101, 101], [200, 0, 300, 100]])
    kept = without_doubles(Detections(boxes, np.array([0.4, 0.6, 0.5]), np.stack([pose, near, far])))
    np.testing.assert_array_equal(kept.scores, [0.6, 0.5])


def test_files_that_are_no_detectors_are_refused(heat_model: Callable[..., Path], tmp_path: Path) -> None:
    path = heat_model(np.zeros((17, 8, 8)), 32, 32)
    with pytest.raises(UsageError, match="no known person detector"):
        load_detector(str(path), "cpu", 1, 384)
    with pytest.raises(MissingWeightsError):
        load_detector(str(tmp_path / "none.onnx"), "cpu", 1, 384)
