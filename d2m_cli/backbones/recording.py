"""Steps that are recorded once on a CUDA device, and replayed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

WARM_UPS = 2
"""Steps made before one is recorded: libraries choose and get their workspaces in the first, outside of a recording."""

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")


def captured(step: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph:
    """Make a step a few times, and record it once more; the recording is on no account left half made."""
    with torch.cuda.device(device):
        # What a library allocates for a stream must not belong to the recording, so both are made on one.
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, which decode and find poses, may allocate meanwhile.
            with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                step()
        except BaseException:
            graph.reset()
            raise
    return graph


def kept(recordings: OrderedDict[Key, Kept], key: Key, make: Callable[[], Kept], most: int) -> Kept:
    """The recording of a key, made where there is none; the one that was used longest ago makes room."""
    found = recordings.pop(key, None)
    if found is None:
        while len(recordings) >= most:
            recordings.popitem(last=False)
        found = make()
    recordings[key] = found
    return found
