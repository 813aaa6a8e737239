"""Libraries with compiled code: whether each can be imported at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module

from d2m_cli.doctor.check import Check, guarded

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
    broken, begun = False, time.monotonic()
    for module, package in MODULES.items():
        yield module
        for check in guarded(GROUP, module, lambda module=module: _imported(module), reinstalled(package)):
            broken = True
            yield check
    if not broken:
        seconds = time.monotonic() - begun
        text = f"all {len(MODULES)} can be loaded ({seconds:.1f} s)"
        yield Check(GROUP, "loading", "ok", text, values={"seconds": round(seconds, 3)})


def reinstalled(package: str) -> str:
    """Command that puts a package anew in its place."""
    return f"python -m pip install --force-reinstall --no-deps {package}"


def _imported(module: str) -> tuple[()]:
    import_module(module)
    return ()
