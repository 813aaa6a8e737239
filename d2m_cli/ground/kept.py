"""What takes long to load, kept until something else is asked for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


def kept(load: Callable[..., T]) -> Callable[..., T]:
    """The same function, which loads what was asked for last once, however many threads ask for it.

    What was loaded before is let go first: there may not be room for both.
    """
    held: dict[tuple[Any, ...], T] = {}
    guard = Lock()

    def get(*what: Any) -> T:
        with guard:
            if held and what not in held:
                held.clear()
                _free_memory()
            if what not in held:
                held[what] = load(*what)
            return held[what]

    return get


def _free_memory() -> None:
    """Give back what networks that nobody holds any more have taken of main memory and of a GPU."""
    gc.collect()
    if "torch" in sys.modules:
        # Not what lies there: another thread may be in the middle of importing it, which this waits for.
        import torch

        torch.cuda.empty_cache()  # nothing where no GPU was used
