"""How many threads compute: decided here for all libraries that d2m hands work to."""

from __future__ import annotations

import os

_NAME = "OMP_NUM_THREADS"


def cores() -> int:
    """Threads that may compute at once: what OMP_NUM_THREADS says, else the cores that this process may use.

    torch goes by the same variable. A value that is no whole number above 0 counts as none, as it does there; of a
    list, which is for nested loops, the first one counts.
    """
    told = os.environ.get(_NAME, "").partition(",")[0].strip()
    if told.isascii() and told.isdecimal() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
