"""HRNet-W32 and MoveNet through ONNX Runtime: pictures a second under CUDA and on the CPU, against the session."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m_cli.ground.devices import names_gpu
from d2m_cli.pose.session import OnnxModel
from tests.gpu.full_size import HRNetShape, hrnet_network, save_hrnet
from tests.gpu.report import Effort, Place, Report, distance, timed

PART = "hrnet"
VIDEOS = Path(__file__).resolve().parents[2] / "examples" / "videos"
DANCE: float | None = None
"""Seconds of the example in which poses are found; None for all of it."""
AGREEMENT = 5e-3
"""Largest distance of heat maps, relative to their norm, between providers: CUDA's uses TF32."""
HALF_AGREEMENT = 2e-2
"""The same where CUDA computes in float16."""
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
            devices.insert(0, place.device)
        else:
            report.absent.append((PART, f"CUDA provider: {missing}"))
    for device in devices:
        for batch in effort.crops if names_gpu(device) else effort.crops[:1]:
            _measure_batch(report, path, device, batch, effort)
    if importlib.util.find_spec("cv2") is None:
        report.absent.append((PART, "joints: OpenCV is not here"))


def _measure_batch(report: Report, path: Path, device: str, batch: int, effort: Effort) -> None:
    model = OnnxModel(path, device, batch=batch)
    if names_gpu(device):
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
        _joints(report, model, name, batch, alone, effort, names_gpu(device))


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
        ways["CUDA"] = place.device
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


def measure_half(report: Report, path: Path, place: Place, effort: Effort, shape: HRNetShape) -> None:
    """The same network with weights and arithmetic in float16: pictures a second, and its distance from torch."""
    half = save_hrnet(path.with_name(f"{path.name}-half.onnx"), shape, half=True)
    pictures = torch.randn(2, 3, shape.height, shape.width, generator=torch.Generator().manual_seed(0))
    device = place.device if provider_missing() is None else "cpu"
    with torch.inference_mode():
        wanted = hrnet_network(shape)(pictures)
    far = distance(torch.from_numpy(OnnxModel(half, device, batch=2)(pictures.numpy())[0]), wanted)
    report.add(PART, f"distance of float16's heat maps from torch in float32, {device}", far, "of their norm")
    report.check(PART, f"float16 agrees, {device}", far < HALF_AGREEMENT, f"{far:.1e} < {HALF_AGREEMENT}")
    for batch in effort.crops:
        model = OnnxModel(half, device, batch=batch)
        ready = np.zeros((batch, 3, shape.height, shape.width), np.float32)
        taken = timed(Place("cpu"), lambda: model(ready), effort.repeats * 3).median  # noqa: B023
        report.add(PART, f"OnnxModel in float16, {device}, batch {batch}", batch / taken, "pictures/s", model.provider)


def measure_movenet(report: Report, path: Path, place: Place, effort: Effort) -> None:
    """Frames a second that `d2m pose` finds joints in, with everything around the networks, and Thunder alone."""
    if importlib.util.find_spec("cv2") is None or importlib.util.find_spec("av") is None:
        report.absent.append((PART, "MoveNet: OpenCV or PyAV is not here"))
        return
    from d2m_cli.pose.estimator import PoseEstimator
    from d2m_cli.pose.options import PoseOptions
    from d2m_cli.pose.weights import pose_weights

    device = place.device if provider_missing() is None else "cpu"
    thunder = OnnxModel(pose_weights("movenet-thunder"), device)
    crops = np.zeros((thunder.batch, 256, 256, 3), np.uint8)
    alone = timed(Place("cpu"), lambda: thunder(crops), effort.repeats * 3).median / thunder.batch
    report.add(PART, f"Thunder alone, {device}, batch {thunder.batch}", 1 / alone, "pictures/s", thunder.provider)
    video = next(VIDEOS.glob("lock_*.mp4"))
    for camera in (True, False):
        estimator = PoseEstimator(PoseOptions(device=device, camera=camera, duration=DANCE))
        frames = len(estimator.estimate(video).tracks[0].times)
        taken = timed(Place("cpu"), lambda: estimator.estimate(video), effort.repeats).median  # noqa: B023
        name = f"d2m pose, {video.stem}, {device}, {'with' if camera else 'without'} the camera's motion"
        report.add(PART, name, frames / taken, "frames/s", f"{taken:.2f} s for {frames} frames")
