"""The right to run before all other programs on the machine, left aside for a moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Within it nothing puts threads of this process before all others on the machine, as far as that can be helped.

    SVT-AV1 makes its threads, and the one that calls it, run before all else (SCHED_FIFO at the highest priority) if it
    may: started by root, or by a user who was given that right. It lasts as long as the process, and is handed on to
    all that it starts. On few cores they then wait for one another for ever.
    """
    if not hasattr(os, "seteuid"):
        yield
        return
    import resource

    user, limit = os.geteuid(), getattr(resource, "RLIMIT_RTPRIO", None)
    before = resource.getrlimit(limit) if limit is not None else None
    if limit is not None and before is not None:
        resource.setrlimit(limit, (0, before[1]))
    if user == 0:
        # Root in a container may not be allowed that, and then hardly has the right either.
        with suppress(OSError):
            os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if os.geteuid() != user:
            os.seteuid(user)
        if limit is not None and before is not None:
            resource.setrlimit(limit, before)


def open_encoder(stream: Any) -> None:
    """Open the encoder of a stream of PyAV before its first picture, where that is one that would take that right.

    Parameters
    ----------
    stream
        With its size, format and options set.
    """
    if stream.codec_context.name == "libsvtav1":
        with unprivileged():
            stream.codec_context.open()
