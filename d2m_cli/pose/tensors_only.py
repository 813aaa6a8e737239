"""A stand-in for the `pickle` module, for ``torch.load``: restores tensors and plain containers, and nothing else.

Checkpoints of mmengine hold training records among the tensors, which ``weights_only=True`` refuses as a whole. Here
every name that a file asks for outside a short list becomes an inert shell: no code of the file's choosing is run.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import Any

UnpicklingError = pickle.UnpicklingError
HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL

_ALLOWED = {
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("collections", "OrderedDict"),
}


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


class Unpickler(pickle.Unpickler):
    """Finds tensors, storages and containers; gives a `Shell` for the rest."""

    def find_class(self, module: str, name: str) -> Any:
        """See `pickle.Unpickler.find_class`."""
        storage = module in ("torch", "torch.storage") and name.endswith("Storage") and name.isidentifier()
        return super().find_class(module, name) if storage or (module, name) in _ALLOWED else Shell


def load(file: Any, **_: Any) -> Any:
    """See `pickle.load`."""
    return Unpickler(file).load()
