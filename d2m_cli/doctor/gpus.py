"""GPUs: what the driver shows, and whether PyTorch, which makes the music, can compute there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2m_cli.doctor.check import Check, explained, guarded
from d2m_cli.doctor.libraries import reinstalled
from d2m_cli.ground.devices import visible_gpus
from d2m_cli.ground.options import option

GROUP = "gpu"
_NVIDIA = "0x10de"
_DISPLAY = "0x03"
"""How the class of graphics cards begins, in the list of what is plugged in."""
LITTLE = 2e9
"""Bytes of a GPU's free memory below which only the model in the package fits."""


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name, bytes of memory that are free and that there are, and why nothing computes there, or ""."""

    name: str
    free: int
    total: int
    wrong: str = ""


@dataclass(frozen=True)
class Seen:
    """What driver and PyTorch say.

    Attributes
    ----------
    plugged
        NVIDIA's cards that the machine has, whatever the driver says.
    hidden
        Whether CUDA_VISIBLE_DEVICES says which of them this process may see.
    visible
        GPUs that the driver shows to this process.
    driver
        Its version, "" where there is none.
    driver_cuda
        The newest CUDA that it knows: 13.0 is (13, 0).
    torch
        PyTorch's version.
    torch_cuda
        The CUDA that it was built for, "" for none.
    refused
        Why PyTorch finds no GPU, in its own words; "" where it finds some.
    gpus
        Those that PyTorch finds.
    """

    plugged: int
    hidden: bool
    visible: int
    driver: str
    driver_cuda: tuple[int, int] | None
    torch: str
    torch_cuda: str
    refused: str
    gpus: tuple[Gpu, ...]


def look() -> Iterator[str | Check]:
    """Ask the driver and PyTorch."""
    yield "PyTorch"
    yield from guarded(GROUP, "PyTorch", lambda: gpu_checks(seen()), reinstalled("torch"))


def gpu_checks(seen: Seen) -> Iterator[Check]:
    """What follows from what driver and PyTorch say.

    Parameters
    ----------
    seen
        That.
    """
    built = f"for CUDA {seen.torch_cuda}" if seen.torch_cuda else "for CPUs alone"
    values = {"version": seen.torch, "cuda": seen.torch_cuda or None}
    yield Check(GROUP, "PyTorch", "ok", f"{seen.torch}, built {built}", values=values)
    if not seen.visible:
        if seen.plugged and not seen.hidden:
            told = "an NVIDIA card is in this machine, and no driver shows it to this process"
            yield Check(GROUP, "driver", "warn", told, "nvidia-smi says why; install NVIDIA's driver, and restart")
            return
        hidden = " that CUDA_VISIBLE_DEVICES lets be seen" if seen.hidden else ""
        yield Check(GROUP, "driver", "ok", f"no NVIDIA GPU{hidden}: all is computed on the CPU")
        return
    newest = ".".join(map(str, seen.driver_cuda)) if seen.driver_cuda is not None else ""
    told = f"{seen.driver or 'version not told'}, for CUDA up to {newest or 'a version not told'}"
    yield Check(GROUP, "driver", "ok", told, values={"version": seen.driver or None, "cuda": newest or None})
    if not seen.torch_cuda:
        remedy = "install a PyTorch with CUDA in place of this one (pytorch.org says how)"
        yield Check(GROUP, "PyTorch on the GPU", "warn", "this PyTorch computes on CPUs alone", remedy)
        return
    if not seen.gpus:
        text = f"finds no GPU, though the driver shows {seen.visible}: {seen.refused or 'it does not say why'}"
        yield Check(GROUP, "PyTorch on the GPU", "warn", text, _update(seen))
        return
    for number, one in enumerate(seen.gpus):
        name = f"cuda:{number}"
        memory: dict[str, Any] = {"name": one.name, "free": one.free, "total": one.total}
        text = f"{one.name}, {one.free / 1e9:.1f} of {one.total / 1e9:.1f} GB are free"
        if one.wrong:
            text += f"; PyTorch can't compute there: {one.wrong}"
            yield Check(GROUP, name, "bad", text, f"compute on the CPU: {option('device', 'cpu')}", memory)
        elif one.free < LITTLE:
            yield Check(GROUP, name, "warn", text, "nvidia-smi shows which programs hold its memory: end them", memory)
        else:
            yield Check(GROUP, name, "ok", text, values=memory)


def _update(seen: Seen) -> str:
    """What mends a PyTorch that finds no GPU."""
    major, _, minor = seen.torch_cuda.partition(".")
    if seen.driver_cuda is not None and major.isdecimal() and (int(major), int(minor or 0)) > seen.driver_cuda:
        return f"update the NVIDIA driver to one for CUDA {seen.torch_cuda}, or install a PyTorch for an older CUDA"
    return "python -c 'import torch; torch.cuda.init()' says why; a restart after an update of the driver often helps"


def seen() -> Seen:
    """Ask driver and PyTorch; loads PyTorch."""
    import torch

    visible, refused = visible_gpus(), ""
    gpus: tuple[Gpu, ...] = ()
    if visible and torch.version.cuda:
        try:
            torch.zeros(1, device="cuda")
            gpus = tuple(_gpu(number) for number in range(torch.cuda.device_count()))
        # A driver that is too old, or of another version than its kernel module, is told in several kinds of error.
        except Exception as error:
            refused = explained(error)
    version, newest = driver_version(), driver_cuda()
    own = torch.version.cuda or ""
    hidden = "CUDA_VISIBLE_DEVICES" in os.environ
    return Seen(plugged_in(), hidden, visible, version, newest, torch.__version__, own, refused, gpus)


def _gpu(number: int) -> Gpu:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    wrong = ""
    try:
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        if (ones @ ones).sum().item() != 64**3:
            wrong = "a product of matrices comes out wrong"
    # Kernels for another kind of GPU, full memory, a broken cuBLAS: each has its own kind of error.
    except Exception as error:
        wrong = explained(error)
    return Gpu(torch.cuda.get_device_name(number), free, total, wrong)


def plugged_in(devices: Path = Path("/sys/bus/pci/devices")) -> int:
    """How many of NVIDIA's cards the machine has; 0 where the system does not list them."""
    count = 0
    for device in devices.glob("*"):
        try:
            vendor, kind = ((device / name).read_text(encoding="ascii") for name in ("vendor", "class"))
        except OSError:
            continue
        count += vendor.startswith(_NVIDIA) and kind.startswith(_DISPLAY)
    return count


def driver_version() -> str:
    """Version of the NVIDIA driver, "" where there is none."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    text = ctypes.create_string_buffer(96)
    told = library.nvmlInit_v2() == 0 and library.nvmlSystemGetDriverVersion(text, len(text)) == 0
    return text.value.decode(errors="replace") if told else ""


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver knows."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int(0)
    # 13020 is 13.2.
    return divmod(version.value // 10, 100) if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
