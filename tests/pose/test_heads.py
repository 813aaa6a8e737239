"""RTMPose and RTMO: known outputs by hand, small random networks, and rtmlib's own decoding where it is installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.batch.pose_files import estimate_files
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.ground.search import Search
from d2m_cli.pose.detector import load_detector
from d2m_cli.pose.estimator import PoseEstimator, PoseOptions, _load_network
from d2m_cli.pose.geometry import apply_affine, crop_matrix, invert_affine
from d2m_cli.pose.heads import RTMO, RTMPose, decode_people, decode_simcc
from d2m_cli.pose.session import OnnxModel
from d2m_cli.pose.settings import heeded, network_hashes, pose_settings
from d2m_cli.pose.weights import network_kind, network_name, resolved

Make = Callable[..., Path]
needs_rtmlib = pytest.mark.skipif(importlib.util.find_spec("rtmlib") is None, reason="rtmlib is not installed")


@pytest.fixture
def network(tmp_path: Path) -> Make:
    """A function that writes a network whose outputs are given values plus what a random layer makes of the picture."""
    onnx = pytest.importorskip("onnx")

    def make(
        outputs: Mapping[str, np.ndarray], width: int, height: int, weight: float = 0.0, batch: int | str = "batch"
    ) -> Path:
        helper, kinds = onnx.helper, onnx.TensorProto
        rng, nodes, constants = np.random.default_rng(0), [], {"sides": np.array([2, 3], np.int64)}
        nodes.append(helper.make_node("ReduceMean", ["pictures", "sides"], ["colours"], keepdims=0))
        told = []
        for name, value in outputs.items():
            free = 0 if value.shape[0] == 1 and batch == 1 else None
            constants[f"{name}_value"] = value.astype(np.float32)
            constants[f"{name}_layer"] = (weight * rng.standard_normal((3, value[0].size))).astype(np.float32)
            constants[f"{name}_shape"] = np.array([-1, *value.shape[1:]], np.int64)
            nodes += [
                helper.make_node("MatMul", ["colours", f"{name}_layer"], [f"{name}_flat"]),
                helper.make_node("Reshape", [f"{name}_flat", f"{name}_shape"], [f"{name}_made"]),
                helper.make_node("Add", [f"{name}_made", f"{name}_value"], [name]),
            ]
            first = 1 if free == 0 else batch
            told.append(helper.make_tensor_value_info(name, kinds.FLOAT, [first, *value.shape[1:]]))
        picture = helper.make_tensor_value_info("pictures", kinds.FLOAT, [batch, 3, height, width])
        given = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, "a head", [picture], told, given)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        path = tmp_path / f"{'-'.join(outputs)}-{width}.onnx"
        onnx.save(model, path)
        return path

    return make


def lines(points: np.ndarray, width: int = 192, height: int = 256) -> dict[str, np.ndarray]:
    """Lines of two steps a pixel, each with its top at a point (17, 2) of the crop; 0.8 across and 0.6 down."""
    across, down = np.zeros((1, 17, 2 * width)), np.zeros((1, 17, 2 * height))
    for joint, (x, y) in enumerate(points):
        across[0, joint, round(2 * x)], down[0, joint, round(2 * y)] = 0.8, 0.6
    return {"simcc_x": across, "simcc_y": down}


@pytest.fixture
def points() -> np.ndarray:
    return np.round(2 * np.random.default_rng(3).uniform([0, 0], [191, 255], (17, 2))) / 2


def test_the_tops_of_two_lines_are_a_joint(network: Make, points: np.ndarray) -> None:
    model = RTMPose(OnnxModel(network(lines(points), 192, 256), "cpu", batch=4), "known")
    assert model.crop_size == (192, 256)
    joints = model.joints(np.zeros((3, 256, 192, 3), np.uint8))
    assert joints.shape == (3, 17, 3)
    np.testing.assert_allclose(joints[:, :, :2], np.stack([points] * 3))
    np.testing.assert_allclose(joints[:, :, 2], 0.7, rtol=1e-6)


def test_rtmpose_sees_rgb_with_imagenets_mean_removed(network: Make) -> None:
    """The joint moves with the mean of each colour as the random layer says."""
    path = network({"simcc_x": np.zeros((1, 17, 384)), "simcc_y": np.zeros((1, 17, 512))}, 192, 256, weight=1.0)
    crop = np.full((1, 256, 192, 3), [255, 0, 128], np.uint8)
    colours = (np.array([255, 0, 128]) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    layer = np.random.default_rng(0).standard_normal((3, 17 * 384))
    wanted = (colours @ layer).reshape(17, 384)
    found = RTMPose(OnnxModel(path, "cpu"), "random").joints(crop)[0]
    np.testing.assert_allclose(found[:, 0], wanted.argmax(1) / 2)


def people(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three people, the second found twice."""
    boxes = np.array(
        [[10, 10, 60, 200, 0.9], [100, 20, 180, 220, 0.8], [102, 22, 182, 222, 0.7], [200, 0, 250, 90, 0.05]], float
    )
    joints = np.random.default_rng(seed).uniform(0, 255, (4, 17, 3))
    joints[..., 2] /= 255
    return boxes, joints


def test_people_found_twice_or_hardly_are_left_out() -> None:
    boxes, joints = people()
    found = decode_people(boxes, joints, 0.1)
    np.testing.assert_array_equal(found.scores, [0.9, 0.8])
    np.testing.assert_array_equal(found.boxes, boxes[:2, :4])
    np.testing.assert_array_equal(found.keypoints, joints[:2])


def test_rtmo_finds_people_of_a_frame_in_its_pixels(network: Make) -> None:
    boxes, joints = people()
    path = network({"dets": boxes[None], "keypoints": joints[None]}, 256, 256, batch=1)
    detector: Any = load_detector(str(path), "cpu", 8, 384)
    assert type(detector) is RTMO
    # A frame of 512 x 256 fills the width at half its size, with 64 pixels of grey above and below.
    found = detector.detect(np.zeros((2, 256, 512, 3), np.uint8), 0.1)
    assert len(found) == 2
    wanted = boxes[:2, :4] * 2 + 0.5 - [0, 128, 0, 128]
    np.testing.assert_allclose(found[1].boxes, wanted, atol=1e-5)
    np.testing.assert_allclose(found[1].keypoints[..., :2], joints[:2, :, :2] * 2 + 0.5 - [0, 128], atol=1e-4)
    np.testing.assert_allclose(found[1].keypoints[..., 2], joints[:2, :, 2], rtol=1e-6)


def test_rtmo_sees_bgr_of_0_to_255(network: Make) -> None:
    surely = np.array([[[0, 0, 64, 64, 1e6]]])
    path = network({"dets": surely, "keypoints": np.zeros((1, 1, 17, 3))}, 64, 64, 1.0, batch=1)
    model = RTMO(OnnxModel(path, "cpu"), "random")
    found = model.joints(np.full((1, 64, 64, 3), [200, 10, 30], np.uint8))[0]
    rng = np.random.default_rng(0)
    rng.standard_normal((3, 5))
    wanted = (np.array([30, 10, 200]) @ rng.standard_normal((3, 51))).reshape(17, 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_of_several_in_a_crop_the_one_in_the_middle_is_read(network: Make) -> None:
    boxes, joints = people()
    path = network({"dets": boxes[None], "keypoints": joints[None]}, 256, 256, batch=1)
    model = RTMO(OnnxModel(path, "cpu"), "known")
    # The middle, (128, 128), lies in the box of the second alone, though the first is likelier.
    np.testing.assert_allclose(model.joints(np.zeros((1, 256, 256, 3), np.uint8))[0], joints[1], rtol=1e-6)
    empty = network({"dets": np.full((1, 1, 5), -1.0), "keypoints": np.ones((1, 1, 17, 3))}, 128, 128, batch=1)
    assert not RTMO(OnnxModel(empty, "cpu"), "none").joints(np.zeros((1, 128, 128, 3), np.uint8)).any()


def test_other_networks_are_refused(network: Make) -> None:
    wrong = network({"simcc_x": np.zeros((1, 17, 383)), "simcc_y": np.zeros((1, 17, 512))}, 192, 256)
    with pytest.raises(UsageError, match="17 lines"):
        RTMPose(OnnxModel(wrong, "cpu"), "x").joints(np.zeros((1, 256, 192, 3), np.uint8))
    with pytest.raises(UsageError, match="gives dets and keypoints"):
        RTMO(OnnxModel(wrong, "cpu"), "x")
    with pytest.raises(UsageError, match="two lines for each joint"):
        RTMPose(OnnxModel(network({"heat": np.zeros((1, 17, 64, 48))}, 192, 256), "cpu"), "x")


# Names.


def test_auto_takes_the_best_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"rtmo-s", "rtmpose-m"}
    monkeypatch.setattr("d2m_cli.pose.weights.locate_if_here", lambda name: Path(name) if name in here else None)
    assert resolved("auto") == "rtmpose-m"
    here.add("hrnet-w48")
    assert resolved("auto") == "hrnet-w48"
    here.clear()
    assert resolved("auto") == "movenet"
    assert resolved("rtmo-t") == "rtmo-t"
    # Poses of "auto" are those of what it takes, so that a newly fetched network makes them anew.
    same = pose_settings(PoseOptions(model="movenet"))
    assert pose_settings(PoseOptions(model="auto")) == same


def test_a_network_is_read_by_its_kind_and_named_in_results(network: Make, points: np.ndarray) -> None:
    path = network(lines(points), 192, 256)
    options = PoseOptions(model=f"rtmpose:{path}", device="cpu")
    assert type(_load_network(options)) is RTMPose
    assert network_hashes(options)["pose"] != network_hashes(PoseOptions())["pose"]
    assert network_name(f"rtmpose:{path}") == path.stem
    assert [network_kind(name) for name in ("rtmo-s", "rtmo:x.onnx", "hrnet-w48-384")] == ["rtmo", "rtmo", "hrnet"]
    with pytest.raises(MissingWeightsError, match="d2m weights pull rtmo-t"):
        PoseEstimator(PoseOptions(model="rtmo-t", device="cpu"))
    with pytest.raises(UsageError, match="there is no pose model 'rtmpose:'"):
        PoseOptions(model="rtmpose:")


@pytest.mark.parametrize("name", ["rtmpose-m", "hrnet-w32", "riffusion", "rtmpose:x.onnx", "rtmo:hrnet-w32"])
def test_what_finds_no_people_is_no_detector(name: str) -> None:
    with pytest.raises(UsageError, match="finds no people in a whole picture; use multipose, rtmo-m, rtmo-s, rtmo-t"):
        PoseOptions(detector=name)


def test_options_of_heat_maps_count_for_hrnet_alone(
    network: Make, heat_model: Make, points: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"flip_test": True, "decoding": "quarter"}
    maps = f"hrnet:{heat_model(np.zeros((17, 64, 48)))}"
    for model, ignored in (("movenet", 2), (f"rtmpose:{network(lines(points), 192, 256)}", 2), (maps, 0)):
        plain = PoseOptions(model=model, device="cpu")
        options = replace(plain, **asked)
        assert (pose_settings(options) == pose_settings(plain)) is bool(ignored)
        assert heeded(options) == (plain if ignored else options)
        estimate_files(Search((), ()), tmp_path / "out", options)
        told = [line for line in capsys.readouterr().err.splitlines() if "no effect" in line]
        assert len(told) == ignored
        assert all(model in line for line in told)


def test_rtmpose_finds_the_joints_of_a_video(network: Make, points: np.ndarray, make_video, tmp_path: Path) -> None:
    """From the command line to the file, with a detector that sees one person and a network that sees known joints."""
    boxes = np.array([[[20.0, 20, 220, 230, 0.9]]])
    joints = np.concatenate([np.random.default_rng(1).uniform(40, 200, (1, 1, 17, 2)), np.ones((1, 1, 17, 1))], 3)
    eye = network({"dets": boxes, "keypoints": joints}, 256, 256, batch=1)
    video = make_video(tmp_path / "dance.mp4", seconds=1.0)
    model = f"rtmpose:{network(lines(points), 192, 256)}"
    poses = PoseEstimator(PoseOptions(model=model, detector=str(eye), device="cpu", camera=False)).estimate(video)
    dancer = poses.tracks[0]
    frame = np.array(dancer.frame_size)
    # The box in pixels of the video, its crop, and the known joints of the crop carried back.
    scale = max(frame) / 256
    margin = (256 - frame / scale) / 2
    box = ((boxes[0, 0, :4].reshape(2, 2) + 0.5 - margin) * scale - 0.5).ravel()
    back = invert_affine(crop_matrix(box, (192, 256), 1.25))
    np.testing.assert_allclose(dancer.keypoints[5, :, :2], apply_affine(back, points), atol=0.5)


# rtmlib's own decoding of the same outputs.


@needs_rtmlib
def test_lines_are_read_as_rtmlib_reads_them() -> None:
    from rtmlib import RTMPose as Theirs

    rng = np.random.default_rng(0)
    across, down = rng.random((1, 17, 384), np.float32), rng.random((1, 17, 512), np.float32)
    theirs: Any = Theirs.__new__(Theirs)
    theirs.model_input_size = (192, 256)
    centre, scale = np.array([100.0, 80.0]), np.array([150.0, 200.0])
    wanted, scores = theirs.postprocess([across, down], centre, scale)
    found = decode_simcc(across, down, 2.0, 2.0)
    back = found[..., :2] / [192, 256] * scale + centre - scale / 2
    np.testing.assert_allclose(back, wanted, atol=1e-4)
    np.testing.assert_allclose(found[..., 2], scores, rtol=1e-6)


@needs_rtmlib
def test_people_are_read_as_rtmlib_reads_them() -> None:
    from rtmlib import RTMO as Theirs

    for seed in range(5):
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, 400, (30, 2))
        boxes = np.concatenate([low, low + rng.uniform(50, 250, (30, 2)), rng.random((30, 1))], 1).astype(np.float32)
        joints = rng.uniform(0, 640, (30, 17, 3)).astype(np.float32)
        theirs: Any = Theirs.__new__(Theirs)
        wanted, scores = theirs.postprocess([boxes[None].copy(), joints[None]], 1.0, 0.45, 0.3)
        found = decode_people(boxes, joints, 0.3)
        assert found.keypoints is not None
        np.testing.assert_allclose(found.keypoints[..., :2], wanted)
        np.testing.assert_allclose(found.keypoints[..., 2], scores)


def test_the_order_of_auto_is_that_of_the_published_accuracies() -> None:
    from d2m_cli.hub.catalogue import POSE_NETWORKS

    page = (Path(__file__).parents[2] / "docs" / "pose.md").read_text()
    told = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4 and cells[1].strip("`") in POSE_NETWORKS:
            told[cells[1].strip("`")] = float(cells[3])
    assert set(told) == set(POSE_NETWORKS), json.dumps(told)
    assert sorted(POSE_NETWORKS, key=lambda name: -told[name]) == list(POSE_NETWORKS)
