"""The split networks against the published graphs, and their accuracy on real pictures."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.ground.digests import file_sha256
from d2m_cli.media.video import VideoReader
from d2m_cli.pose.geometry import letterbox_matrix, warp
from d2m_cli.pose.movenet import MultiPose, Thunder, decode_multi
from d2m_cli.pose.session import OnnxModel
from d2m_cli.pose.weights import pose_weights

Shared = Callable[[str], Path]


def thunder(batch: int = 4) -> Thunder:
    return Thunder(OnnxModel(pose_weights("movenet-thunder"), "cpu", batch, threads=1))


def multipose(batch: int = 2) -> MultiPose:
    return MultiPose(OnnxModel(pose_weights("movenet-multipose"), "cpu", batch, threads=1))


def published(path: Path) -> Callable[[np.ndarray], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda picture: session.run(None, {name: picture[None].astype(np.int32)})[0][0]


def pictures(video: Path, size: tuple[int, int], count: int = 3) -> np.ndarray:
    reader = VideoReader(video, 640)
    frames = np.concatenate([chunk.frames for chunk in reader])
    matrix = letterbox_matrix(reader.size, size)
    return np.stack([warp(frames[i], matrix, size) for i in np.linspace(0, len(frames) - 1, count).astype(int)])


def assert_joints_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """Within a pixel, but for the joint that 12 bits a weight move between two people's equal peaks in one crop."""
    away = np.linalg.norm(found - expected, axis=1)
    assert np.median(away) < 0.2
    assert np.mean(away < 1.0) >= 0.9


def test_manifest_names_the_files_as_they_are() -> None:
    import json

    manifest = pose_weights("movenet-thunder").parents[1] / "manifest.json"
    entries = {entry["name"]: entry for entry in json.loads(manifest.read_text())["weights"]}
    for name in ("movenet-thunder", "movenet-multipose"):
        assert entries[name]["sha256"] == file_sha256(pose_weights(name))
        assert entries[name]["licence"] == "Apache-2.0"


def test_a_packed_network_computes_the_same_bytes(tmp_path: Path) -> None:
    packed = pose_weights("movenet-thunder")
    unpacked = tmp_path / "movenet-thunder.onnx"
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    crops = np.random.default_rng(0).integers(0, 255, (2, 256, 256, 3), dtype=np.uint8)
    found = [OnnxModel(path, "cpu", 2, threads=1)(crops) for path in (packed, unpacked)]
    for one, other in zip(*found, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("video", ["mmpose_demo", "mmaction2_demo_skeleton"])
def test_thunder_is_the_published_graph(shared: Shared, video: str) -> None:
    original = published(shared("pose/movenet-thunder.onnx"))
    crops = pictures(shared(f"video/{video}.mp4"), (256, 256))
    joints = thunder().joints(crops)
    for crop, found in zip(crops, joints, strict=True):
        y, x, score = original(crop)[0].T
        seen = score > 0.3
        assert_joints_agree(found[seen, :2], np.stack([x, y], 1)[seen] * 256)


@pytest.mark.parametrize("size", [(256, 256), (256, 160)])
def test_multipose_is_the_published_graph(shared: Shared, size: tuple[int, int]) -> None:
    original = published(shared("pose/movenet-multipose.onnx"))
    shown = pictures(shared("video/mmpose_demo.mp4"), size)
    network = multipose().model
    heads = dict(zip(network.outputs, network(shown), strict=True))
    for index, picture in enumerate(shown):
        people = decode_multi(**{name: head[index] for name, head in heads.items()})
        rows = original(picture)
        expected = rows[:, :51].reshape(6, 17, 3)[..., [1, 0, 2]] * [size[0], size[1], 1]
        assert people.keypoints is not None
        clear = rows[:, 55] > 0.2
        assert clear.any()
        seen = (expected[..., 2] > 0.3) & clear[:, None]
        assert_joints_agree(people.keypoints[seen][:, :2], expected[seen][:, :2])
        np.testing.assert_allclose(people.boxes[clear], (rows[:, [52, 51, 54, 53]] * np.tile(size, 2))[clear], atol=0.5)
        np.testing.assert_allclose(people.scores[clear], rows[clear, 55], atol=0.01)


def test_results_do_not_depend_on_who_shares_the_batch() -> None:
    crops = np.random.default_rng(0).integers(0, 255, (5, 256, 256, 3), dtype=np.uint8)
    network = thunder()
    together = network.joints(crops)
    for index in range(5):
        np.testing.assert_array_equal(network.joints(crops[index : index + 1])[0], together[index])


def test_nobody_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 120, 160, 3), dtype=np.uint8)
    assert [len(found.boxes) for found in multipose().detect(noise, 0.2)] == [0, 0]


@pytest.mark.slow
def test_similarity_on_coco(shared: Shared) -> None:
    """Mean OKS of the twelve people of four COCO pictures; the figures of docs/pose.md, less a margin."""
    spec = importlib.util.spec_from_file_location("measure_coco", Path(__file__).with_name("measure_coco.py"))
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    figures = script.measure(shared("coco"))
    assert figures["movenet-thunder, true boxes"] > 0.82
    assert figures["movenet-multipose, whole picture"] > 0.79
    # What a slim crop leaves out, of a square, shows nothing of the person.
    assert abs(figures["movenet-thunder, true boxes"] - figures["movenet-thunder, true boxes, in squares"]) < 0.02


def boxes_of(width: float, height: float) -> np.ndarray:
    return np.array([[50, 40, 50 + width, 40 + height]] * 8, float)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (100, 100, (256, 256)),
        (50, 100, (128, 256)),
        (51, 100, (160, 256)),
        (10, 100, (96, 256)),
        (200, 110, (256, 160)),
    ],
)
def test_a_crop_is_as_slim_or_wide_as_the_dancer(width: float, height: float, expected: tuple[int, int]) -> None:
    """256 pixels the longer way; the other way the share of it, up to the next multiple of 32, at least 96."""
    assert thunder().crop_for(boxes_of(width, height)) == expected


def test_a_crop_suits_the_median_of_the_boxes() -> None:
    slim, wide = boxes_of(50, 100), boxes_of(90, 100)
    assert thunder().crop_for(np.concatenate([slim, slim, wide])) == (128, 256)
    assert thunder().crop_for(np.concatenate([slim, wide, wide])) == (256, 256)
