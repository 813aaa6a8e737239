from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.pose.fetched import open_ready
from d2m_cli.pose.geometry import apply_affine, crop_matrix, invert_affine
from d2m_cli.pose.hrnet import LEFT_RIGHT, HRNet, _smoothed, decode_dark, decode_quarter, normalised, unflipped
from d2m_cli.pose.session import OnnxModel

ROWS, COLUMNS = 64, 48
SPREAD = 2.0


def bells(points: np.ndarray, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Heat maps (k, rows, columns) with a Gaussian at each (x, y)."""
    y, x = np.mgrid[:rows, :columns]
    squared = (x - points[:, 0, None, None]) ** 2 + (y - points[:, 1, None, None]) ** 2
    return np.exp(-squared / (2 * SPREAD**2)).astype(np.float32)


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(3).uniform([9, 9], [COLUMNS - 10, ROWS - 10], (17, 2))


def test_dark_finds_the_top_of_a_bell(points: np.ndarray) -> None:
    found = decode_dark(bells(points)[None])[0]
    np.testing.assert_allclose(found[:, :2], points, atol=0.02)


def test_quarter_step_goes_towards_the_higher_neighbour() -> None:
    found = decode_quarter(bells(np.array([[20.3, 30.4], [10.8, 40.0]]))[None])[0]
    # Highest cells (20, 30) and (11, 40); the second bell is even in y, where neither neighbour is higher.
    np.testing.assert_allclose(found[:, :2], [[20.25, 30.25], [10.75, 40.0]])


def test_maps_are_smoothed_to_their_edge_and_beyond_it_is_nothing() -> None:
    from scipy.ndimage import correlate1d

    maps = np.random.default_rng(4).normal(0.1, 1, (2, 3, ROWS, COLUMNS)).astype(np.float32)
    # The window of 11 cells that OpenCV gives a spread of 2.
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 2.0**2))
    bell /= bell.sum()
    wanted = correlate1d(correlate1d(maps.astype(np.float64), bell, 2, mode="constant"), bell, 3, mode="constant")
    wanted *= maps.max((2, 3), keepdims=True) / wanted.max((2, 3), keepdims=True)
    np.testing.assert_allclose(_smoothed(maps, 11), wanted, atol=1e-12)


def test_score_is_the_height_of_the_map(points: np.ndarray) -> None:
    maps = 0.7 * bells(np.round(points))
    np.testing.assert_allclose(decode_dark(maps[None])[0, :, 2], 0.7, rtol=1e-6)


def test_peaks_at_the_edge_stay_in_the_map() -> None:
    corners = np.array([[0.0, 0], [COLUMNS - 1, ROWS - 1], [1, 30]])
    for decode in (decode_dark, decode_quarter):
        np.testing.assert_allclose(decode(bells(corners)[None])[0, :, :2], corners, atol=0.26)


def test_colours_are_normalised_as_imagenet() -> None:
    crop = np.array([[[[255, 0, 128]]]], np.uint8)
    expected = [(255 - 123.675) / 58.395, (0 - 116.28) / 57.12, (128 - 103.53) / 57.375]
    np.testing.assert_allclose(normalised(crop)[0, :, 0, 0], expected, rtol=1e-6)
    crops = np.random.default_rng(5).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    wanted = (crops.astype(np.float64) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    for mirror in (1, -1):
        found = normalised(crops[:, :, ::mirror])
        np.testing.assert_allclose(found, wanted[:, :, ::mirror].transpose(0, 3, 1, 2), rtol=1e-5)
        assert found.flags.c_contiguous


@pytest.mark.parametrize("order", ["rgb", "bgr", ""])
def test_a_network_that_normalises_itself_says_so_in_its_file(tmp_path: Path, order: str) -> None:
    """It gives the mean colour that it was shown, after its own normalisation, as its 17 maps."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    mean = np.array([0.485, 0.456, 0.406], np.float32)[:: -1 if order == "bgr" else 1].reshape(1, 3, 1, 1)
    own = [] if order == "" else [onnx.numpy_helper.from_array(np.ascontiguousarray(mean), "mean")]
    given = [onnx.numpy_helper.from_array(np.array([2, 3], np.int64), "sides"), *own]
    given.append(onnx.numpy_helper.from_array(np.resize(np.eye(3), (17, 3)).T.astype(np.float32), "spread"))
    given.append(onnx.numpy_helper.from_array(np.array([-1, 17, 1, 1], np.int64), "shape"))
    nodes = [helper.make_node("Sub", ["pictures", "mean"], ["plain"])] if own else []
    nodes += [
        helper.make_node("ReduceMean", ["plain" if own else "pictures", "sides"], ["colours"], keepdims=0),
        helper.make_node("MatMul", ["colours", "spread"], ["joints"]),
        helper.make_node("Reshape", ["joints", "shape"], ["heat"]),
    ]
    picture = helper.make_tensor_value_info("pictures", kinds.FLOAT, [1, 3, 4, 4])
    heat = helper.make_tensor_value_info("heat", kinds.FLOAT, [1, 17, 1, 1])
    graph = helper.make_graph(nodes, "colours", [picture], [heat], given)
    path = tmp_path / "own.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    network = HRNet(OnnxModel(path, "cpu"), "own")
    assert network.own_colours == order
    shown = np.full((1, 4, 4, 3), [255, 0, 51], np.uint8)
    found = network.joints(shown)[0, :3, 2]
    unit = np.array([1.0, 0.0, 0.2])
    wanted = {
        "rgb": unit - [0.485, 0.456, 0.406],
        "bgr": (unit - [0.485, 0.456, 0.406])[::-1],
        "": (np.array([255, 0, 51]) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375],
    }[order]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    if order:
        assert open_ready(path).own_colours == order
    else:
        with pytest.raises(UsageError, match="does not say"):
            open_ready(path)


def test_mirrored_maps_come_back_on_their_joints() -> None:
    maps = bells(np.tile([[10.0, 20.0]], (17, 1)))
    maps[1] = bells(np.array([[30.0, 5.0]]))[0]
    mirrored = maps[list(LEFT_RIGHT)][:, :, ::-1][None]
    back = unflipped(np.ascontiguousarray(mirrored))[0]
    # One cell to the right of the unmirrored maps, by the recipe.
    np.testing.assert_array_equal(back[:, :, 1:], maps[:, :, :-1])


@pytest.mark.parametrize("batch", ["batch", 1])
@pytest.mark.parametrize("decoding", ["dark", "quarter"])
def test_known_peaks_come_out_at_known_pixels(
    heat_model: Callable[..., Path], points: np.ndarray, decoding: str, batch: int | str
) -> None:
    """Crop, network and way back, against the affine map worked out by hand."""
    network = HRNet(OnnxModel(heat_model(bells(points), batch=batch), "cpu", batch=4), "known", decoding=decoding)
    assert network.crop_size == (192, 256)
    joints = network.joints(np.zeros((3, 256, 192, 3), np.uint8))
    assert joints.shape == (3, 17, 3)
    # The box 100..220 x 50..290 becomes 180 x 240, padded 225 x 300 around (160, 170): 225 / 192 pixels per crop pixel.
    back = invert_affine(crop_matrix(np.array([100, 50, 220, 290]), network.crop_size, 1.25))
    expected = (points * 4 - [96, 128]) * (225 / 192) + [160, 170]
    limit = 0.1 if decoding == "dark" else 0.5 * 4 * 225 / 192
    np.testing.assert_allclose(apply_affine(back, joints[2, :, :2]), expected, atol=limit)


def test_a_network_of_another_shape_is_refused(heat_model: Callable[..., Path], points: np.ndarray) -> None:
    network = HRNet(OnnxModel(heat_model(bells(points)[:14]), "cpu"), "fourteen")
    with pytest.raises(UsageError, match="17 heat maps"):
        network.joints(np.zeros((1, 256, 192, 3), np.uint8))


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"nothing\.onnx"):
        OnnxModel(tmp_path / "nothing.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(UsageError, match=r"junk\.onnx"):
        OnnxModel(tmp_path / "junk.onnx")
    (tmp_path / "short.onnx.gz").write_bytes(gzip.compress(b"junk" * 100)[:-9])
    with pytest.raises(UsageError, match=r"short\.onnx\.gz"):
        OnnxModel(tmp_path / "short.onnx.gz")


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="mmpose is not installed")
def test_decoding_agrees_with_mmpose() -> None:
    from d2m_cli.pose import compat_mmpose

    compat_mmpose.prepare()
    from mmpose.codecs import MSRAHeatmap

    rng = np.random.default_rng(0)
    maps = bells(rng.uniform([3, 3], [COLUMNS - 4, ROWS - 4], (17, 2))) + rng.normal(0, 0.01, (17, ROWS, COLUMNS))
    maps = maps.astype(np.float32)
    for unbiased, decode in ((False, decode_quarter), (True, decode_dark)):
        codec = MSRAHeatmap((192, 256), (COLUMNS, ROWS), sigma=2, unbiased=unbiased)
        expected, scores = codec.decode(maps.copy())
        found = decode(maps[None])[0]
        np.testing.assert_allclose(found[:, :2] * 4, expected[0], atol=0.01)
        np.testing.assert_allclose(found[:, 2], scores[0], rtol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("mmpose") is None, reason="mmpose is not installed")
def test_crop_agrees_with_mmpose() -> None:
    from d2m_cli.pose import compat_mmpose

    compat_mmpose.prepare()
    from mmpose.structures.bbox import bbox_xyxy2cs, get_warp_matrix

    for box in ([100, 50, 220, 290], [10, 300, 410, 380]):
        centre, scale = bbox_xyxy2cs(np.array(box, np.float32), padding=1.25)
        width, height = scale
        scale = np.array([max(width, height * 192 / 256), max(height, width * 256 / 192)])
        expected = get_warp_matrix(centre, scale, 0.0, output_size=(192, 256))
        np.testing.assert_allclose(crop_matrix(np.array(box), (192, 256), 1.25), expected, atol=1e-4)
