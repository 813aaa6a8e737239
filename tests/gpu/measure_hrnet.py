"""HRNet-W32 through ONNX Runtime: pictures a second under CUDA and on the CPU, against the session and torch alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m_cli.pose.session import OnnxModel
from tests.gpu.full_size import HRNetShape, hrnet_network
from tests.gpu.report import Effort, Place, Report, distance, timed

PART = "hrnet"
AGREEMENT = 5e-3
"""Largest distance of heat maps, relative to their norm, between providers: CUDA's uses TF32."""
MOST_OVER_THE_SESSION = 3.0
"""Finding joints may take this many times what the network alone takes on a GPU: the rest is cropping and reading."""
CUDA = "CUDAExecutionProvider"


def provider_missing() -> str | None:
    """Why ONNX Runtime can't use a GPU here, or None."""
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers():
        return None
    return f"this onnxruntime {onnxruntime.__version__} is built without CUDA: install onnxruntime-gpu in its place"


def measure_providers(report: Report, path: Path, place: Place, effort: Effort) -> None:
    """Pictures a second by d2m's `OnnxModel`, and by its session on input that lies ready."""
    devices = ["cpu"]
    if place.is_gpu:
        missing = provider_missing()
        if missing is None:
            devices.insert(0, "cuda")
        else:
            report.absent.append((PART, f"CUDA provider: {missing}"))
    for device in devices:
        for batch in effort.crops if device == "cuda" else effort.crops[:1]:
            _measure_batch(report, path, device, batch, effort)
    if importlib.util.find_spec("cv2") is None:
        report.absent.append((PART, "joints: OpenCV is not here"))


def _measure_batch(report: Report, path: Path, device: str, batch: int, effort: Effort) -> None:
    model = OnnxModel(path, device, batch=batch)
    if device == "cuda":
        report.check(PART, f"the CUDA provider runs, batch {batch}", model.provider == CUDA, model.provider)
    shape = [int(size or 0) for size in model.input_shape[1:]]
    ready = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    # Numbers come in and go out through the machine's memory, so nothing is left to wait for.
    here, often = Place("cpu"), effort.repeats * 3
    alone = timed(here, lambda: model._session.run(None, {model._input: ready}), often).median
    called = timed(here, lambda: model(ready), often).median
    name = f"{device}, batch {batch}"
    report.add(PART, f"session alone, {name}", batch / alone, "pictures/s", model.provider)
    report.add(PART, f"OnnxModel, {name}", batch / called, "pictures/s", "d2m's wrapper")
    if importlib.util.find_spec("cv2") is not None:
        _joints(report, model, name, batch, alone, effort, device == "cuda")


def _joints(
    report: Report, model: OnnxModel, name: str, batch: int, alone: float, effort: Effort, is_gpu: bool
) -> None:
    from d2m_cli.pose.hrnet import HRNet

    network = HRNet(model, "random")
    width, height = network.crop_size
    crops = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    found = timed(Place("cpu"), lambda: network.joints(crops), effort.repeats).median
    report.add(PART, f"joints, {name}", batch / found, "pictures/s", "colours, network and DARK; no video, no cropping")
    report.add(PART, f"joints over the session alone, {name}", found / alone, "times")
    if is_gpu:
        told = f"{found / alone:.2f} times, at most {MOST_OVER_THE_SESSION}"
        report.check(PART, f"reading the maps keeps up, {name}", found / alone <= MOST_OVER_THE_SESSION, told)


@torch.inference_mode()
def measure_agreement(report: Report, path: Path, place: Place, effort: Effort, shape: HRNetShape) -> None:
    """Heat maps here against torch on the CPU, and pictures a second of torch here."""
    network: Any = hrnet_network(shape)
    pictures = torch.randn(2, 3, shape.height, shape.width, generator=torch.Generator().manual_seed(0))
    wanted = network(pictures)
    ways = {"CPU": "cpu"}
    if place.is_gpu and provider_missing() is None:
        ways["CUDA"] = "cuda"
    for name, device in ways.items():
        far = distance(torch.from_numpy(OnnxModel(path, device, batch=2)(pictures.numpy())[0]), wanted)
        report.add(PART, f"distance of heat maps from torch on the CPU, {name} provider", far, "of their norm")
        report.check(PART, f"heat maps agree with torch, {name} provider", far < AGREEMENT, f"{far:.1e} < {AGREEMENT}")
    network.to(place.device)
    batch = effort.crops[-1]
    many = pictures[:1].expand(batch, -1, -1, -1).contiguous().to(place.device)
    times = timed(place, lambda: network(many), effort.repeats * 3)
    told = "the same network in PyTorch, input on the device"
    report.add(PART, f"torch, {place.device}, batch {batch}", batch / times.median, "pictures/s", told)
