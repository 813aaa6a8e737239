"""What computes the pose networks: each provider of ONNX Runtime that d2m uses, tried with a network that ships."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from d2m_cli.doctor.check import Check, guarded
from d2m_cli.doctor.libraries import package_of, reinstalled
from d2m_cli.errors import D2MError
from d2m_cli.ground.devices import visible_gpus
from d2m_cli.ground.options import option
from d2m_cli.pose.session import CUDA, OnnxModel
from d2m_cli.pose.weights import pose_weights

GROUP = "pose networks"
CPU = "CPUExecutionProvider"
_NETWORK = "movenet-thunder"
_RUNTIME = "ONNX Runtime"
_SIDE = 256
"""Pixels of a side of the picture that is looked at."""
_TYPES = {"tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(float)": np.float32}


def look() -> Iterator[str | Check]:
    """Run a pose network on the CPU and, where a GPU is visible, on CUDA."""
    remedy = reinstalled(package_of("onnxruntime"))
    yield _RUNTIME
    yield from guarded(GROUP, _RUNTIME, lambda: [runtime_check()], remedy)
    yield CPU
    yield from guarded(GROUP, CPU, lambda: [cpu_check()], remedy)
    yield CUDA
    on_cpu = f"compute on the CPU: {option('device', 'cpu')}"
    yield from guarded(GROUP, CUDA, lambda: [cuda_check(visible_gpus())], on_cpu)


def runtime_check() -> Check:
    """What ONNX Runtime says of itself."""
    import onnxruntime

    built = getattr(onnxruntime, "cuda_version", "")
    listed = onnxruntime.get_available_providers()
    text = f"{onnxruntime.__version__}, {f'for CUDA {built}' if built else 'without CUDA'}; lists {', '.join(listed)}"
    values = {"version": onnxruntime.__version__, "cuda": built or None, "providers": listed}
    return Check(GROUP, _RUNTIME, "ok", text, values=values)


def cpu_check() -> Check:
    """Run the network on the CPU.

    Raises
    ------
    D2MError
        It can't be loaded.
    """
    seconds = run("cpu")
    return Check(GROUP, CPU, "ok", f"computes ({seconds:.2f} s for a picture)", values={"seconds": round(seconds, 3)})


def cuda_check(gpus: int) -> Check:
    """Run the network on a GPU, where there is one: ONNX Runtime lists CUDA whether it can be loaded or not.

    Parameters
    ----------
    gpus
        How many GPUs are visible.
    """
    import onnxruntime

    if not gpus:
        return Check(GROUP, CUDA, "ok", "not tried: no NVIDIA GPU is visible")
    if CUDA not in onnxruntime.get_available_providers():
        return Check(
            GROUP,
            CUDA,
            "warn",
            "this ONNX Runtime computes on CPUs alone, though a GPU is here",
            "python -m pip uninstall -y onnxruntime && python -m pip install --force-reinstall onnxruntime-gpu",
        )
    try:
        seconds = run("cuda")
    except D2MError as error:
        missing = missing_library()
        text = f"is listed and can't be used: {missing or str(error)}; poses are computed on the CPU"
        remedy = "python -m pip install 'onnxruntime-gpu[cuda,cudnn]'" if missing else "update the NVIDIA driver"
        return Check(GROUP, CUDA, "warn", text, remedy, {"missing": missing or None})
    return Check(GROUP, CUDA, "ok", f"computes ({seconds:.2f} s for a picture)", values={"seconds": round(seconds, 3)})


def run(device: str) -> float:
    """Have the network look at a black picture twice; seconds of the second time.

    Raises
    ------
    UsageError
        The device can't be had.
    """
    model = OnnxModel(pose_weights(_NETWORK), device)
    rows: Any = np.zeros((1, *(side or _SIDE for side in model.input_shape[1:])), _TYPES[model.input_type])
    model(rows)
    begun = time.monotonic()
    (output, *_) = model(rows)
    if not np.isfinite(output).all():
        raise ArithmeticError(f"{_NETWORK} on {model.provider} gives numbers that are none")
    return time.monotonic() - begun


def missing_library() -> str:
    """Why ONNX Runtime's part for CUDA can't be loaded, as the system's loader tells it; "" where it can be.

    The first library that is missing is named: "libcudnn.so.9: cannot open shared object file".
    """
    import onnxruntime

    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        # The part for CUDA takes symbols from this one.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return str(error).rpartition(": No such file")[0] or str(error)
    return ""
