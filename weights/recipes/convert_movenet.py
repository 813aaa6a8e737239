"""Make the two MoveNet files that ship with d2m from the ONNX conversion of the published graphs.

    python weights/recipes/convert_movenet.py movenet-thunder.onnx movenet-multipose.onnx weights/pose

Four changes:

1. The graph is cut where the convolutions end. What followed was fixed to one picture a call; those few steps are in
   ``d2m_cli/pose/movenet.py`` and the network itself now takes a batch, of pictures with sides in multiples of 32.
2. The picture goes in as uint8, a quarter of the int32 bytes to move.
3. Weights are stored small and unpacked by nodes that ONNX Runtime folds on loading, so that it computes in float32 as
   before. Convolutions of some size take 12 bits a weight: an int8 and half a byte of finer steps, with one scale an
   output channel. All else is float16, which loses nothing: the published values are float16 numbers already.
4. The file is packed with gzip, which takes 7 % off it and no numbers away.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

SMALLEST_HALVED = 256
"""Tensors with fewer values than this stay float32: a Cast would cost more bytes than it saves."""

SMALLEST_PACKED = 4096
"""Convolutions with fewer weights than this (the depthwise ones among them) are not packed."""


def halve_weights(model: onnx.ModelProto) -> int:
    """Store large float32 initialisers as float16 followed by a Cast; returns how many were changed."""
    casts = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST_HALVED:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}/half"))
        casts.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    return len(casts)


def pack_weights(model: onnx.ModelProto) -> int:
    """Store large convolution weights in 12 bits; returns how many were changed.

    A weight is ``scale * (coarse + fine / 16)`` with coarse an int8 and fine 0 to 15, two of which share a byte.
    """
    readers = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    constants = {"pack/shift": np.array([4], np.uint8), "pack/steps": np.array(16, np.float32)}
    nodes = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < SMALLEST_PACKED or tensor.name not in readers:
            continue
        name = tensor.name
        scale = (np.abs(values).max(axis=(1, 2, 3), keepdims=True) / 127).astype(np.float32)
        sixteenths = np.clip(np.round(values / np.maximum(scale, 1e-12) * 16), -128 * 16, 127 * 16 + 15).astype(int)
        coarse, fine = np.divmod(sixteenths, 16)
        halves = np.append(fine.ravel(), np.zeros(fine.size % 2, int)).reshape(2, -1)
        tensor.CopyFrom(numpy_helper.from_array(coarse.astype(np.int8), f"{name}/coarse"))
        model.graph.initializer.extend(
            numpy_helper.from_array(array, f"{name}/{part}")
            for part, array in (
                ("scale", scale),
                ("packed", (halves[0] * 16 + halves[1]).astype(np.uint8)),
                ("size", np.array([0], np.int64)),
                ("end", np.array([fine.size], np.int64)),
                ("shape", np.array(values.shape, np.int64)),
            )
        )
        v = {part: f"{name}/{part}" for part in ("coarse", "scale", "packed", "size", "end", "shape")}
        nodes += [
            helper.make_node("BitShift", [v["packed"], "pack/shift"], [f"{name}/high"], direction="RIGHT"),
            # Shifting left drops the high half of a byte: the graphs' opset has no bitwise and.
            helper.make_node("BitShift", [v["packed"], "pack/shift"], [f"{name}/raised"], direction="LEFT"),
            helper.make_node("BitShift", [f"{name}/raised", "pack/shift"], [f"{name}/low"], direction="RIGHT"),
            helper.make_node("Concat", [f"{name}/high", f"{name}/low"], [f"{name}/both"], axis=0),
            helper.make_node("Slice", [f"{name}/both", v["size"], v["end"]], [f"{name}/fine"]),
            helper.make_node("Reshape", [f"{name}/fine", v["shape"]], [f"{name}/shaped"]),
            helper.make_node("Cast", [f"{name}/shaped"], [f"{name}/steps"], to=TensorProto.FLOAT),
            helper.make_node("Div", [f"{name}/steps", "pack/steps"], [f"{name}/parts"]),
            helper.make_node("Cast", [v["coarse"]], [f"{name}/wholes"], to=TensorProto.FLOAT),
            helper.make_node("Add", [f"{name}/wholes", f"{name}/parts"], [f"{name}/sum"]),
            helper.make_node("Mul", [f"{name}/sum", v["scale"]], [name]),
        ]
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return len(nodes) // 11


def first_use(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node that reads a value."""
    return next(node for node in model.graph.node if name in node.input)


def maker(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node that makes a value."""
    return next(node for node in model.graph.node if name in node.output)


def head_outputs(model: onnx.ModelProto) -> dict[str, str]:
    """Map each head (centre, regression, heat, offset, boxes...) to its value in the graph.

    The heads are the last convolutions, told apart by channels: 1 centre, 17 heat, 34 twice (the regression is read
    once, through the person's centre; the offsets are read at the joints), and 2 twice in MultiPose (size, then shift).
    """
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    sigmoid = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Sigmoid"}
    made: dict[int, list[str]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv" and weights[node.input[1]][0] in (1, 2, 17, 34) and weights[node.input[1]][1] == 96:
            made.setdefault(weights[node.input[1]][0], []).append(node.output[0])
    names = {
        "centre": sigmoid[made[1][0]],
        "heat": sigmoid[made[17][0]],
        "regression": made[34][0],
        "offset": made[34][1],
    }
    if 2 in made:
        names["box_size"], names["box_shift"] = made[2]
    return names


def free_sizes(model: onnx.ModelProto) -> None:
    """Declare the input (batch, height, width, 3) uint8 of any size, and drop the Split that held the batch to 1."""
    picture = model.graph.input[0]
    picture.CopyFrom(helper.make_tensor_value_info(picture.name, TensorProto.UINT8, ["batch", "side", "side", 3]))
    for node in list(model.graph.node):
        if node.op_type == "Split":
            reader = first_use(model, node.output[0])
            reader.input[list(reader.input).index(node.output[0])] = node.input[0]
            model.graph.node.remove(node)


def convert(source: Path, target: Path) -> None:
    """Cut and free one MoveNet graph, and store its weights small."""
    model = onnx.load(source)
    names = head_outputs(model)
    picture = model.graph.input[0].name
    model = onnx.shape_inference.infer_shapes(model)
    heads = Extractor(model).extract_model([picture], list(names.values()))
    free_sizes(heads)
    renamed = {value: key for key, value in names.items()} | {picture: "picture"}
    for node in heads.graph.node:
        for values in (node.input, node.output):
            for index, value in enumerate(values):
                values[index] = renamed.get(value, value)
    heads.graph.input[0].name = "picture"
    del heads.graph.output[:], heads.graph.value_info[:]
    channels = {"centre": 1, "heat": 17, "regression": 34, "offset": 34, "box_size": 2, "box_shift": 2}
    for key in names:
        shape = ["batch", channels[key], "rows", "columns"]
        heads.graph.output.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, shape))
    packed = pack_weights(heads)
    count = halve_weights(heads)
    onnx.checker.check_model(heads, full_check=True)
    # Without a name and a time in it, the same graph gives the same file.
    target.write_bytes(gzip.compress(heads.SerializeToString(), compresslevel=9, mtime=0))
    size = target.stat().st_size / 1e6
    print(f"{target}: {size:.1f} MB, {packed} tensors in 12 bits, {count} in float16", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("thunder", "multipose", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    convert(arguments.thunder, arguments.out / "movenet-thunder.onnx.gz")
    convert(arguments.multipose, arguments.out / "movenet-multipose.onnx.gz")


if __name__ == "__main__":
    main()
