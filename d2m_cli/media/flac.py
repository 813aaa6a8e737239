"""Sound as FLAC for an .mkv: the very steps of the .wav."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from d2m_cli.media.audio import Samples, to_steps

_FRAME = 4096
"""Samples in one FLAC frame."""


def flac_packets(target: Any, samples: Samples, rate: int) -> Iterator[Any]:
    """Packets of the sound with 16 bits, for a stream that is added to `target` at once.

    Parameters
    ----------
    target
        Container that is written.
    samples
        (1 or 2, n) float32.
    rate
        In Hz.
    """
    import av

    layout = "mono" if len(samples) == 1 else "stereo"
    stream = target.add_stream("flac", rate=rate, layout=layout)
    stream.format = "s16"

    def packets() -> Iterator[Any]:
        for start in range(0, samples.shape[1], _FRAME):
            steps = to_steps(samples[:, start : start + _FRAME], 16)
            interleaved = np.ascontiguousarray(steps.T, np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()
