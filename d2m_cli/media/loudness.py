"""How loud music is, and one gain that brings it to a level: BS.1770 loudness, held below a true peak.

Nothing is limited or compressed: where the loudness asked for would lift peaks too high, the peak decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.strip import Strip

Samples = NDArray[np.float32]

CEILING = -1.0
"""Highest true peak in dBTP (EBU R 128): what a codec adds at peaks stays below full scale."""
ROUNDING = 0.01
"""Decibels kept below the ceiling, for what rounding to 16 bits adds."""
OVERSAMPLED = 4
"""Times that the rate is raised to see peaks between samples (BS.1770-4, Annex 2)."""
BLOCK_SECONDS = 0.4
"""Shortest sound that has a loudness."""
PIECE, AROUND = 1 << 18, 64
"""Samples that are raised to that rate at a time, and how many beside them the filter looks at, at most."""
BLOCKS, LEAD = 600, 10
"""Overlapping blocks of 0.4 s that are weighted at a time, and how many before them, which bring the filters up."""
RELATIVE_GATE = 10.0
"""LU below the mean of all blocks above the gate; what is fainter does not count (BS.1770-4)."""
GATE = -70.0
"""LUFS below which nothing counts (BS.1770-4); the same in dB of a peak, where sound is too short for a loudness."""


@dataclass(frozen=True)
class Level:
    """How loud a piece came out.

    Attributes
    ----------
    wanted
        LUFS that were asked for.
    loudness
        Integrated loudness in LUFS; None for silence, or under 0.4 s.
    true_peak
        In dBTP; None for silence.
    decided_by
        "loudness": it is as loud as was asked; "peak": it is as loud as the peak allows; None: left as it was.
    gain
        In dB, what was done.
    """

    wanted: float
    loudness: float | None
    true_peak: float | None
    decided_by: Literal["loudness", "peak"] | None
    gain: float


def integrated_loudness(samples: Samples | Strip, rate: int) -> float | None:
    """Loudness of ITU-R BS.1770-4 in LUFS, by pyloudnorm; None for silence, or under 0.4 s.

    Parameters
    ----------
    samples
        (channels, n), one to five channels.
    rate
        In Hz.
    """
    import pyloudnorm  # type: ignore[import-untyped]

    if samples.shape[1] < BLOCK_SECONDS * rate:
        return None
    meter = pyloudnorm.Meter(rate, block_size=BLOCK_SECONDS)
    step = (1.0 - meter.overlap) * BLOCK_SECONDS
    count = 1 + round((samples.shape[1] / rate - BLOCK_SECONDS) / step)
    blocks: list[float] = []
    # A long piece is heard a minute at a time, which leaves the blocks as they are: the filters know nothing any more
    # of what was a second before.
    for first in range(0, count, BLOCKS):
        last, lead = min(first + BLOCKS, count), min(first, LEAD)
        begin = round((first - lead) * step * rate)
        end = samples.shape[1] if last == count else round(((last - 1) * step + BLOCK_SECONDS) * rate)
        meter.integrated_loudness(samples[:, begin:end].T.astype(np.float64))
        blocks += meter.blockwise_loudness[lead : lead + last - first]
    power = 10.0 ** (np.array(blocks) / 10.0)
    loud = power[np.array(blocks) >= GATE]
    if not len(loud):
        return None
    relative = 10.0 * np.log10(loud.mean()) - RELATIVE_GATE
    kept = power[(np.array(blocks) > relative) & (np.array(blocks) > GATE)]
    return float(10.0 * np.log10(kept.mean())) if len(kept) else None


def true_peak(samples: Samples | Strip) -> float:
    """Largest value of (channels, n) samples and of the curve through them, at four times their rate; 0 for silence."""
    from scipy.signal import resample_poly

    peak = 0.0
    for first in range(0, samples.shape[1], PIECE):
        begin = max(first - AROUND, 0)
        part = samples[:, begin : first + PIECE + AROUND].astype(np.float64)
        if part.any():
            between = resample_poly(part, OVERSAMPLED, 1, axis=1)
            inner = between[:, OVERSAMPLED * (first - begin) :][:, : OVERSAMPLED * PIECE]
            # The filter's own ripple must not hide a sample.
            peak = max(peak, float(np.abs(part).max()), float(np.abs(inner).max()))
    return peak


def bring_to(
    samples: Samples, rate: int, wanted: float, ceiling: float = CEILING, out: Samples | None = None
) -> tuple[Samples, Level]:
    """Give music a loudness by one gain.

    Parameters
    ----------
    samples
        (channels, n) float32.
    rate
        In Hz.
    wanted
        Integrated loudness in LUFS. Sound of under 0.4 s has none: its peak is brought to the ceiling.
    ceiling
        Highest true peak in dBTP; where `wanted` would pass it, the peak decides.
    out
        Memory for the result, which may be that of `samples`; None takes new.
    """
    factor, level = gain_to(samples, rate, wanted, ceiling)
    if level.decided_by is None:
        return samples, level
    return np.multiply(samples, factor, out=out, dtype=np.float32), level


def gain_to(samples: Samples | Strip, rate: int, wanted: float, ceiling: float = CEILING) -> tuple[float, Level]:
    """The factor that brings music to a loudness, and how loud it is then; parameters as of `bring_to`."""
    peak = true_peak(samples)
    if peak == 0.0:
        return 1.0, Level(wanted, None, None, None, 0.0)
    peak_db = 20.0 * float(np.log10(peak))
    allowed = ceiling - ROUNDING - peak_db
    found = integrated_loudness(samples, rate)
    short = samples.shape[1] < BLOCK_SECONDS * rate
    if found is None and (not short or peak_db < GATE):
        # Below the gate there is nothing but noise, which is not to be lifted.
        return 1.0, Level(wanted, None, round(peak_db, 3), None, 0.0)
    by_peak = found is None or wanted - found > allowed
    gain = allowed if found is None else min(wanted - found, allowed)
    level = None if found is None else round(found + gain, 3)
    return 10.0 ** (gain / 20.0), Level(
        wanted, level, round(peak_db + gain, 3), "peak" if by_peak else "loudness", round(gain, 3)
    )
