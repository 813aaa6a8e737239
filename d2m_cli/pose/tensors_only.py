"""A stand-in for the `pickle` module, for ``torch.load``: restores tensors and plain containers, and nothing else.

Checkpoints of mmengine hold training records among the tensors, which ``weights_only=True`` refuses as a whole. Here
every name that a file asks for outside a short list becomes an inert shell: no code of the file's choosing is run.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import Any, ClassVar

import torch

from d2m_cli.ground.unpickle import Call, ListedUnpickler

UnpicklingError = pickle.UnpicklingError
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL


class Shell(OrderedDict[Any, Any]):
    """Takes the place of any object that is no tensor; swallows what it is given."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Swallow one value."""

    def extend(self, values: Any) -> None:
        """Swallow several."""

    def add(self, value: Any) -> None:
        """Swallow one value."""


class Unpickler(ListedUnpickler):
    """Finds tensors and containers; gives a `Shell` for the rest. Storages are found by ``torch.load`` itself."""

    listed: ClassVar = {
        ("torch._utils", "_rebuild_tensor_v2"): Call(torch._utils._rebuild_tensor_v2),
        ("torch._utils", "_rebuild_parameter"): Call(torch._utils._rebuild_parameter),
        ("torch", "Size"): Call(torch.Size),
        ("torch", "device"): Call(torch.device),
        ("collections", "OrderedDict"): Call(OrderedDict),
    }

    def unlisted(self, module: str, name: str) -> type[Shell]:
        """A `Shell` for everything else."""
        return Shell


def load(file: Any, **_: Any) -> Any:
    """See `pickle.load`."""
    return Unpickler(file).load()
