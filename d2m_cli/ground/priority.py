"""Threads that others go before."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_STEP, _LAST = 10, 19


def give_way() -> None:
    """Let others go before the calling thread, which gets a tenth of a core that one of them wants as well.

    Where threads have no priorities of their own, as outside Linux, nothing is changed.
    """
    if sys.platform == "linux":
        here = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, here, min(os.getpriority(os.PRIO_PROCESS, here) + _STEP, _LAST))
