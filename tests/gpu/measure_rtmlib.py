"""HRNet-W32 from frames to joints: d2m's batches against rtmlib's loop, which takes one picture at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.cores import cores
from d2m_cli.pose.session import OnnxModel
from tests.gpu.report import Effort, Place, Report, timed

PART = "hrnet"
GOAL = 2.0
"""Times that d2m finds joints on a GPU in as many pictures a second as the loop."""
FRAME, BOX = (480, 640), (80.0, 60.0, 400.0, 440.0)
"""(height, width) of a frame, and where in it the person is: x, y, x, y in pixels."""
Frames = list[NDArray[np.uint8]]


def measure_rtmlib(report: Report, path: Path, place: Place, effort: Effort) -> None:
    """Pictures a second by both, of frames that lie ready and whose people are known, with the same network."""
    from tests.gpu.measure_hrnet import provider_missing

    if importlib.util.find_spec("cv2") is None:
        report.absent.append((PART, "against rtmlib: OpenCV is not here"))
        return
    if place.is_gpu and (missing := provider_missing()) is not None:
        report.absent.append((PART, f"against rtmlib: {missing}"))
        return
    random = np.random.default_rng(0)
    count = 2 * max(effort.crops)
    frames = [random.integers(0, 256, (*FRAME, 3), dtype=np.uint8) for _ in range(count)]
    theirs = "rtmlib's loop" if importlib.util.find_spec("rtmlib") is not None else "a loop as rtmlib's"
    ways = {"d2m": in_batches(path, place.device, frames), theirs: one_by_one(path, place.device, frames)}
    rates = {}
    for name, work in ways.items():
        rates[name] = count / timed(Place("cpu"), work, effort.repeats).median
        note = "cut out, network, maps read; no video"
        report.add(PART, f"frames to joints, {name}, {place.device}", rates[name], "pictures/s", note)
    gain = rates["d2m"] / rates[theirs]
    report.add(PART, f"frames to joints, d2m over {theirs}, {place.device}", gain, "times", "the same network")
    if place.is_gpu:
        report.check(PART, f"frames to joints over {theirs}", gain >= GOAL, f"{gain:.2f} times, at least {GOAL}")


def in_batches(path: Path, device: str, frames: Frames) -> Callable[[], object]:
    """As d2m's estimator goes about it: each batch cut out, computed and read by one of several threads."""
    from d2m_cli.pose.geometry import crop_matrix, warp
    from d2m_cli.pose.hrnet import HRNet

    network = HRNet(OnnxModel(path, device), "random")
    matrix = crop_matrix(np.array(BOX), network.crop_size, 1.25)
    batch = network.model.batch

    def joints(start: int) -> NDArray[np.float64]:
        return network.joints(
            np.stack([warp(frame, matrix, network.crop_size) for frame in frames[start : start + batch]])
        )

    def work() -> list[NDArray[np.float64]]:
        with ThreadPoolExecutor(cores()) as threads:
            return list(threads.map(joints, range(0, len(frames), batch)))

    return work


def one_by_one(path: Path, device: str, frames: Frames) -> Callable[[], object]:
    """By rtmlib where it is installed; else by the same steps: OpenCV's crop, colours, session, highest cells."""
    from d2m_cli.pose.hrnet import decode_quarter

    if importlib.util.find_spec("rtmlib") is not None:
        pose = _rtmlib(path, device, decode_quarter)
        return lambda: [pose(frame, [BOX]) for frame in frames]

    import cv2
    import onnxruntime

    from d2m_cli.ground.devices import gpu_number, names_gpu
    from d2m_cli.pose.geometry import crop_matrix
    from d2m_cli.pose.hrnet import RGB_MEAN, RGB_STD

    on_gpu = names_gpu(device)
    provider = ("CUDAExecutionProvider", {"device_id": gpu_number(device)}) if on_gpu else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(str(path), providers=[provider])
    given = session.get_inputs()[0]
    size = (int(given.shape[3]), int(given.shape[2]))

    def joints(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
        cut = cv2.warpAffine(frame, crop_matrix(np.array(BOX), size, 1.25), size, flags=cv2.INTER_LINEAR)
        picture = ((cut - RGB_MEAN) / RGB_STD).transpose(2, 0, 1)[None]
        heat = session.run(None, {given.name: np.ascontiguousarray(picture, np.float32)})[0]
        return decode_quarter(heat)

    return lambda: [joints(frame) for frame in frames]


def _rtmlib(path: Path, device: str, read: Callable[[Any], NDArray[np.float64]]) -> Any:
    from rtmlib import RTMPose

    class OfHeatMaps(RTMPose):
        """rtmlib's way from a picture to joints, around a network that gives heat maps."""

        def postprocess(self, outputs: Any, center: Any, scale: Any) -> tuple[Any, Any]:
            joints = read(outputs[0])
            stride = np.array(self.model_input_size) / [outputs[0].shape[3], outputs[0].shape[2]]
            places = joints[..., :2] * stride / self.model_input_size * scale + center - scale / 2
            return places, joints[..., 2]

    shape = OnnxModel(path, "cpu").input_shape
    return OfHeatMaps(str(path), (shape[3], shape[2]), backend="onnxruntime", device=device)
