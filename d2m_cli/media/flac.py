"""Sound as FLAC for an .mkv: the very steps of the .wav."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.media.audio import Samples, to_steps
from d2m_cli.media.sound_packets import encoded_packets, layout_of

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
    stream = target.add_stream("flac", rate=rate, layout=layout_of(samples))
    stream.format = "s16"
    return encoded_packets(stream, samples, rate, _FRAME, "s16", _interleaved)


def _interleaved(block: Samples) -> NDArray[np.int16]:
    return np.ascontiguousarray(to_steps(block, 16).T, np.int16).reshape(1, -1)
