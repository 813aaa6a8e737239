"""How loud a clip is (ITU-R BS.1770-4), so that no system is preferred for being louder."""

from __future__ import annotations

import numpy as np

from d2m_cli.media.audio import Samples, resample

K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
"""Numerators and denominators of the standard's two filters at 48 kHz."""


def loudness(samples: Samples, rate: int) -> float | None:
    """Integrated loudness of ITU-R BS.1770-4 in LUFS; None for silence, or under 0.4 s of sound.

    Parameters
    ----------
    samples
        (channels, n) float32, one or two channels.
    rate
        In Hz.
    """
    from scipy.signal import lfilter

    weighted = (samples if rate == 48000 else resample(samples, rate, 48000)).astype(np.float64)
    for numerator, denominator in K_WEIGHTING:
        weighted = lfilter(numerator, denominator, weighted, axis=1)
    block, step = 19200, 4800
    sums = np.concatenate([[0.0], np.cumsum((weighted**2).sum(axis=0))])
    starts = np.arange(0, len(sums) - block, step)
    powers = (sums[starts + block] - sums[starts]) / block
    powers = powers[powers > 10.0 ** ((-70.0 + 0.691) / 10.0)]
    if not len(powers):
        return None
    powers = powers[powers > 0.1 * powers.mean()]
    return float(-0.691 + 10.0 * np.log10(powers.mean()))
