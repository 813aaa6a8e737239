"""Names of devices: "auto", "cpu", "cuda", or "cuda:1" where there are several."""

from __future__ import annotations

import ctypes
import re

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option


def check_device_name(device: str) -> None:
    """Raise UsageError unless this is the name of a device, be it here or not."""
    if device not in ("auto", "cpu", "cuda") and not re.fullmatch(r"cuda:\d+", device):
        raise UsageError(f"{option('device')} must be auto, cpu, cuda, or cuda:1 of several, not {device!r}")


def names_gpu(device: str) -> bool:
    """Whether a name asks for a GPU, of whatever number."""
    return device == "cuda" or device.startswith("cuda:")


def gpu_number(device: str) -> int:
    """The number in "cuda:1"; 0 where none is named."""
    return int(device.partition(":")[2] or 0)


def refuse_absent(device: str, count: int, mend: str = "") -> None:
    """Raise UsageError where a GPU that a name asks for is not one of so many.

    Parameters
    ----------
    device
        The name.
    count
        How many GPUs can be used.
    mend
        What else to do where there are none.
    """
    if not names_gpu(device) or gpu_number(device) < count:
        return
    asked, other = option("device", device), option("device", "cpu")
    if not count:
        raise UsageError(f"{asked}: no NVIDIA GPU is visible here; use {other} or auto{mend}")
    here = ", ".join(f"cuda:{number}" for number in range(count))
    raise UsageError(f"{asked}: there is no such GPU; here {'is' if count == 1 else 'are'} {here}")


def visible_gpus() -> int:
    """How many GPUs the NVIDIA driver shows; ONNX Runtime itself lists CUDA even where neither is here."""
    driver, count = _driver(), ctypes.c_int(0)
    return count.value if driver is not None and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def gpu_memory(number: int) -> int:
    """Bytes of memory of a GPU that the NVIDIA driver shows, in use or not; 0 where there is no such GPU."""
    driver, device, size = _driver(), ctypes.c_int(0), ctypes.c_size_t(0)
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), number) != 0:
        return 0
    return size.value if driver.cuDeviceTotalMem_v2(ctypes.byref(size), device) == 0 else 0


def _driver() -> ctypes.CDLL | None:
    """The NVIDIA driver, ready to be asked; None where there is none that works."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None
