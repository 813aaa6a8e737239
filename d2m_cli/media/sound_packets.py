"""Sound into the packets of one track of a file that is written, whatever its codec."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from d2m_cli.media.audio import Samples


def layout_of(samples: Samples) -> str:
    """What FFmpeg calls the channels of (1 or 2, n) samples."""
    return "mono" if len(samples) == 1 else "stereo"


def encoded_packets(
    stream: Any, samples: Samples, rate: int, block: int, form: str, laid_out: Callable[[Samples], NDArray[Any]]
) -> Iterator[Any]:
    """All packets of a sound, those that the encoder holds back included.

    Parameters
    ----------
    stream
        The track, ready to encode.
    samples
        (1 or 2, n) float32.
    rate
        In Hz.
    block
        Samples that the encoder is given at once.
    form
        FFmpeg's name of how it wants them: "fltp", "s16".
    laid_out
        Makes an array of that form of one block.
    """
    import av

    for start in range(0, samples.shape[1], block):
        array = laid_out(samples[:, start : start + block])
        frame = av.AudioFrame.from_ndarray(array, format=form, layout=layout_of(samples))
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield from stream.encode(frame)
    yield from stream.encode(None)
