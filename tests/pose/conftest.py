"""Small networks made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def heat_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a network which gives the same known heat maps whatever the picture shows."""
    onnx = pytest.importorskip("onnx")

    def make(maps: np.ndarray, height: int = 256, width: int = 192, batch: int | str = "batch") -> Path:
        helper, kinds = onnx.helper, onnx.TensorProto
        picture = helper.make_tensor_value_info("pictures", kinds.FLOAT, [batch, 3, height, width])
        heat = helper.make_tensor_value_info("heat", kinds.FLOAT, [batch, *maps.shape])
        constants = {
            "maps": maps[None].astype(np.float32),
            "zero": np.float32(0),
            "axes": np.array([1, 2, 3], np.int64),
        }
        nodes = [
            helper.make_node("ReduceMean", ["pictures", "axes"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["maps", "nothing"], ["heat"]),
        ]
        initial = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, "known maps", [picture], [heat], initial)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        path = tmp_path / f"known-{batch}.onnx"
        onnx.save(model, path)
        return path

    return make
