"""The frames of a video that poses are found in: no more a second than a dance needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from d2m_cli.media.video import FrameChunk

ENOUGH = 25.0
"""Frames a second that are enough: of a video with at least twice as many, every second one is taken, and so on."""


def thinning(fps: float) -> int:
    """Of how many frames one is taken: 1 up to 49 a second, 2 from 50, so that 25 to 50 are left."""
    return max(1, int(fps / ENOUGH + 0.01))


def thinned(chunks: Iterable[FrameChunk], fps: float) -> Iterator[FrameChunk]:
    """The frames that are taken, numbered anew, with their own times.

    It goes by time: where a video of a varying rate has few frames, all are taken.

    Parameters
    ----------
    chunks
        All frames, in order.
    fps
        Frames a second, on average.
    """
    every = thinning(fps)
    if every == 1:
        yield from chunks
        return
    apart = (every - 0.5) / fps
    last, count = float("-inf"), 0
    for chunk in chunks:
        taken = []
        for index, time in enumerate(chunk.times):
            if time - last >= apart:
                taken.append(index)
                last = float(time)
        if taken:
            yield FrameChunk(chunk.frames[taken], chunk.times[taken], count)
            count += len(taken)
