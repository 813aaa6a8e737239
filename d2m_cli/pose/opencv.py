"""How many threads OpenCV starts of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_lock = threading.Lock()
_inside = 0
_before = 0


@contextmanager
def no_threads_of_its_own() -> Iterator[None]:
    """Within this context, in any number of threads, OpenCV computes in the thread that calls it.

    Pictures are spread over threads already, and what the process had set before is set again afterwards.
    """
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                cv2.setNumThreads(_before)
