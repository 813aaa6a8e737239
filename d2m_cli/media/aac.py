"""Sound as AAC for an .mp4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from d2m_cli.media.audio import Samples
from d2m_cli.media.sound_packets import encoded_packets, layout_of

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
    layout = layout_of(samples)
    stream = target.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = _BIT_RATE if layout == "stereo" else _BIT_RATE // 2
    return encoded_packets(stream, samples, rate, AAC_FRAME, "fltp", _planes)


def _planes(block: Samples) -> Samples:
    return np.ascontiguousarray(block, dtype=np.float32)
