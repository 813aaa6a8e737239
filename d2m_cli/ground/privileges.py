"""What the system's first user may do and others may not, left aside for a moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Within it this process has no rights but any user's, where root started it; for others nothing changes.

    SVT-AV1 makes its threads, and the one that calls it, run before all else on the machine (SCHED_FIFO at the highest
    priority) if it may; that lasts as long as the process, and is handed on to all that it starts. On few cores they
    then wait for one another for ever.

    Raises
    ------
    OSError
        The system has no user without rights.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
