"""Importing libraries without Python looking through them for garbage again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Within this context garbage is not collected, and what is there at its end is never looked through again.

    Importing PyTorch, diffusers and transformers makes a million objects that stay, through which Python would go many
    times. Only for a program of its own: of what a notebook holds at the end, cycles would never be freed.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
