"""All that it takes to run audiocraft 1.3.0 beside current packages, in one place.

audiocraft asks for torch 2.1 and old builds of xformers, torchaudio and spacy. A text-to-music model uses hardly
anything of these three: where one is missing, a stand-in takes its name, with the few things that are used, and raises
where more is asked of it. Its text conditioner knows text encoders by a few names only, and fetches them; `local_t5`
gives it a folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from d2m_cli.errors import MissingExtraError

INSTALL = "pip install 'd2m[audiocraft]', then pip install --no-deps audiocraft==1.3.0"
NEEDED = ("einops", "omegaconf", "num2words", "julius", "flashy", "torchmetrics", "audiocraft")


def prepare() -> None:
    """Make ``import audiocraft`` possible.

    Raises
    ------
    MissingExtraError
        audiocraft or what it needs is not installed.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(f"{name} is not installed; {INSTALL}")
    if "audiocraft.models" in sys.modules:
        return
    for_now, for_good = [*_spacy(), *_torchaudio()], _xformers()
    try:
        importlib.import_module("audiocraft.models")
    except ImportError as error:
        for_now += for_good
        raise MissingExtraError(f"audiocraft can't be imported ({error}); {INSTALL}") from error
    finally:
        # Other libraries look whether spacy or torchaudio are there, and would take a stand-in for the real one.
        # audiocraft holds on to these two by itself; xformers it imports again whenever it attends.
        for name in for_now:
            del sys.modules[name]


@contextmanager
def local_t5(folder: Path, width: int) -> Iterator[str]:
    """Let audiocraft load a T5 from a folder, and give the name by which it then goes; `width` is T5's ``d_model``."""
    conditioner: Any = importlib.import_module("audiocraft.modules.conditioners").T5Conditioner
    models, widths = conditioner.MODELS, conditioner.MODELS_DIMS
    name = str(folder)
    conditioner.MODELS, conditioner.MODELS_DIMS = [*models, name], {**widths, name: width}
    try:
        yield name
    finally:
        conditioner.MODELS, conditioner.MODELS_DIMS = models, widths


def _xformers() -> list[str]:
    import torch

    class LowerTriangularMask:
        """A mark only: torch's own attention then hides what comes later."""

    return _stand_in(
        "xformers.ops",
        unbind=torch.unbind,
        memory_efficient_attention=_refusal("xformers", "attention by xformers"),
        LowerTriangularMask=LowerTriangularMask,
    )


def _spacy() -> list[str]:
    return _stand_in("spacy", load=_refusal("spacy", "a model that rewrites its prompts"))


def _torchaudio() -> list[str]:
    names = ("Loudness", "Spectrogram", "MelSpectrogram")
    return _stand_in("torchaudio.transforms", **{name: _refusal("torchaudio", name) for name in names})


def _refusal(package: str, wanted: str) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> None:
        raise MissingExtraError(f"{wanted} needs {package}, which is not installed; pip install {package}")

    return refuse


def _stand_in(name: str, **content: Any) -> list[str]:
    """Put a module into place unless its package is installed; gives the names that are now taken."""
    package, _, inner = name.partition(".")
    if importlib.util.find_spec(package) is not None:
        return []
    added = [package, name] if inner else [package]
    for one in added:
        module = ModuleType(one)
        module.__path__ = []
        module.__spec__ = ModuleSpec(one, None, is_package=True)
        sys.modules[one] = module
    vars(sys.modules[name]).update(content)
    if inner:
        setattr(sys.modules[package], inner, sys.modules[name])
    return added
