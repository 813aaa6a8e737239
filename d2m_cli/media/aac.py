"""Sound as AAC for an .mp4."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from d2m_cli.media.audio import Samples

AAC_FRAME = 1024
"""Samples in one AAC frame, and how many the encoder puts in front (its priming); an edit list takes those away."""
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Sample rates in Hz that AAC knows."""

_BIT_RATE = 192_000


def sound_packets(target: Any, samples: Samples, rate: int) -> Iterator[Any]:
    """Packets of the sound, for a stream that is added to `target` at once.

    Parameters
    ----------
    target
        Container that is written.
    samples
        (1 or 2, n) float32.
    rate
        In Hz, one of `AAC_RATES`.
    """
    import av

    layout = "mono" if len(samples) == 1 else "stereo"
    stream = target.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = _BIT_RATE if layout == "stereo" else _BIT_RATE // 2

    def packets() -> Iterator[Any]:
        for start in range(0, samples.shape[1], AAC_FRAME):
            block = np.ascontiguousarray(samples[:, start : start + AAC_FRAME], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return packets()
