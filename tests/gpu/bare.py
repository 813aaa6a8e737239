"""Let d2m's backbones be imported on a machine without librosa: for measuring on bare machines, nothing else."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
from numpy.typing import NDArray


def mel(
    *, sr: float, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool, norm: str | None
) -> NDArray[np.float32]:
    """``librosa.filters.mel`` as transformers computes it; (n_mels, n_fft // 2 + 1)."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=n_fft // 2 + 1, num_mel_filters=n_mels, min_frequency=fmin, max_frequency=fmax,
        sampling_rate=int(sr), norm=norm, mel_scale="htk" if htk else "slaney",
    )  # fmt: skip
    return np.ascontiguousarray(filters.T, np.float32)


def without_librosa() -> str | None:
    """Put a stand-in with `mel` alone where librosa can't be imported; returns what to tell about it."""
    try:
        # Its parts are loaded when they are first used, and need compiled packages of their own.
        importlib.import_module("librosa.filters")
    except ImportError as error:
        for name in [name for name in sys.modules if name.partition(".")[0] == "librosa"]:
            del sys.modules[name]
        package, filters = ModuleType("librosa"), ModuleType("librosa.filters")
        filters.mel = mel  # type: ignore[attr-defined]
        package.filters = filters  # type: ignore[attr-defined]
        # transformers asks `find_spec` whether librosa is there, which refuses modules without one.
        package.__spec__, filters.__spec__ = ModuleSpec("librosa", None), ModuleSpec("librosa.filters", None)
        sys.modules.update({"librosa": package, "librosa.filters": filters})
        return f"librosa is not here ({error}): mel filters are those of transformers, the same to rounding"
    return None
