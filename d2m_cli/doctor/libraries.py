"""Libraries with compiled code: whether each can be imported at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from importlib import import_module

from d2m_cli.doctor.check import Check, guarded
from d2m_cli.doctor.packages import find_pins, installed, pip

GROUP = "libraries"
MODULES = {
    "numpy": "numpy", "scipy.signal": "scipy", "torch": "torch", "onnxruntime": "onnxruntime", "av": "av",
    "cv2": "opencv-python-headless", "soundfile": "soundfile", "librosa.beat": "librosa", "pyloudnorm": "pyloudnorm",
    "python_stretch": "python-stretch", "safetensors.torch": "safetensors", "transformers": "transformers",
    "diffusers": "diffusers",
}  # fmt: skip
"""Module to the package that brings it: what ``d2m generate`` imports."""


def look() -> Iterator[str | Check]:
    """Import each; a crash or a hang is told by `d2m_cli.doctor.apart`."""
    here = installed()
    # Those that are not here are told among the packages.
    there = {module: name for module, name in MODULES.items() if package_of(name) in here}
    broken, begun = False, time.monotonic()
    for module, name in there.items():
        yield module
        for check in guarded(GROUP, module, partial(_imported, module), reinstalled(package_of(name))):
            broken = True
            yield check
    if not broken:
        seconds = time.monotonic() - begun
        text = f"all {len(there)} can be loaded ({seconds:.1f} s)"
        yield Check(GROUP, "loading", "ok", text, values={"seconds": round(seconds, 3)})


def reinstalled(package: str) -> str:
    """Command that puts a package, and what it stands on, anew in its place."""
    return pip(find_pins(), package, anew=True)


def package_of(name: str) -> str:
    """The package that brings a library here: ONNX Runtime comes in two."""
    return f"{name}-gpu" if f"{name}-gpu" in installed() else name


def _imported(module: str) -> Iterator[Check]:
    import_module(module)
    yield from ()
