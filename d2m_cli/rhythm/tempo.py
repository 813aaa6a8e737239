"""Tempo and beats from a rhythm: one even grid for the whole video.

Music keeps its tempo, so a dance to music lies on one grid: beats at ``first_beat + k * 60 / bpm``. Periods are scored
by how well the accents keep to a pulse, how much of the pulse they fill, and whether the envelope repeats after one or
two of them; a mild prior prefers tempi near 110 to their doubles and halves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m_cli.rhythm.sequence import Tempo

Array = NDArray[np.float64]

LOWEST_BPM, HIGHEST_BPM = 60.0, 180.0
PRIOR_BPM, PRIOR_OCTAVES = 110.0, 0.9
FEWEST_PEAKS = 4
AT_ONCE = 1 << 19
"""Products of a frequency and a peak that are held at a time."""
TOLERANCE = 0.07
"""A peak within this many seconds of a beat is on it: the field's usual window."""


def estimate_tempo(envelope: NDArray[np.floating], rate: float, peaks: Array) -> Tempo | None:
    """Tempo, phase and confidence of a whole video.

    Parameters
    ----------
    envelope
        (n,) strength of accents on an even clock from time 0.
    rate
        Steps per second of that clock.
    peaks
        (p,) seconds, rising.

    Returns
    -------
    Tempo, or None with fewer than four peaks or with peaks that span less than two beats of the slowest tempo.
    """
    weights = peak_weights(envelope, rate, peaks)
    return fit_grid(peaks, weights, np.asarray(envelope, dtype=np.float64), rate, LOWEST_BPM, HIGHEST_BPM)


def peak_weights(envelope: NDArray[np.floating], rate: float, peaks: Array) -> Array:
    """Strength of each peak, (p,), as the square root of the envelope there: loud accents count more, not all."""
    if len(envelope) == 0 or len(peaks) == 0:
        return np.ones(len(peaks))
    height = np.interp(peaks, np.arange(len(envelope)) / rate, envelope)
    return np.asarray(np.sqrt(np.maximum(height, 1e-3)), dtype=np.float64)


def fit_grid(peaks: Array, weights: Array, envelope: Array, rate: float, lowest: float, highest: float) -> Tempo | None:
    """Best even grid of beats for weighted peaks."""
    if len(peaks) < FEWEST_PEAKS:
        return None
    span = float(peaks[-1] - peaks[0])
    if span < 120.0 / HIGHEST_BPM:
        return None
    frequencies = candidate_frequencies(lowest / 60.0, highest / 60.0, span)
    score = pulse_score(peaks, weights, frequencies, span) * tempo_prior(60.0 * frequencies)
    repeats = [autocorrelation_at(envelope, rate, beats / frequencies) for beats in (1.0, 2.0)]
    score = score * (0.5 + 0.5 * np.maximum(*repeats))
    best = float(frequencies[int(np.argmax(score))])
    period, first = refine(peaks, weights, 1.0 / best)
    return Tempo(60.0 / period, first, grid_confidence(peaks, weights, period, first, searched=span))


def candidate_frequencies(lowest: float, highest: float, span: float) -> Array:
    """Beats a second, (f,), so dense that a grid's error over the span stays under a tenth of a beat."""
    step = min(0.1 / max(span, 1.0), 0.02)
    return np.arange(lowest, highest + step, step)


def pulse_score(peaks: Array, weights: Array, frequencies: Array, span: float) -> Array:
    """How well peaks keep to a pulse of each frequency, (f,), 0 to 1.

    The length of the mean of unit vectors at the peaks' phases, for the beat and (at less worth) for the half beat,
    times the share of the pulse's beats that have a peak: without the last, a doubled tempo would fit as well.
    """
    fit = np.empty(len(frequencies))
    total = weights.sum()
    # Both numbers grow with the video, so their product is held in parts.
    some = max(AT_ONCE // max(len(peaks), 1), 1)
    for first in range(0, len(frequencies), some):
        turn = np.exp(2j * np.pi * frequencies[first : first + some, None] * peaks[None])
        on_beat = np.abs(turn @ weights) / total
        on_half = np.abs((turn**2) @ weights) / total
        fit[first : first + some] = 0.6 * on_beat + 0.4 * on_half
    filled = np.minimum(1.0, len(peaks) / (span * frequencies + 1.0))
    crowded = np.minimum(1.0, (span * frequencies + 1.0) / len(peaks))
    return np.asarray(fit * (0.5 + 0.5 * filled) * (0.6 + 0.4 * crowded), dtype=np.float64)


def tempo_prior(bpm: Array) -> Array:
    """A bell around 110 on a scale of octaves, (f,)."""
    return np.asarray(np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2), dtype=np.float64)


def autocorrelation_at(envelope: Array, rate: float, periods: Array) -> Array:
    """Autocorrelation of an envelope at lags in seconds, (f,), 0 to 1."""
    centred = envelope - envelope.mean() if len(envelope) else envelope
    power = float(centred @ centred)
    if power <= 0.0 or len(envelope) < 2:
        return np.zeros(len(periods))
    size = 1 << (2 * len(centred) - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    lags = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(centred)] / power
    lags = lags * len(centred) / np.maximum(len(centred) - np.arange(len(centred)), 0.25 * len(centred))
    value = np.interp(periods, np.arange(len(lags)) / rate, lags, right=0.0)
    return np.asarray(np.clip(value, 0.0, 1.0), dtype=np.float64)


def refine(peaks: Array, weights: Array, period: float) -> tuple[float, float]:
    """Period and first beat (seconds, at or after 0) by matching a pulse train, then least squares on its matches."""
    first = best_phase(peaks, weights, period)
    for _ in range(3):
        number = np.round((peaks - first) / period)
        late = peaks - first - number * period
        near = np.abs(late) < min(TOLERANCE, 0.2 * period)
        if near.sum() < 3 or np.ptp(number[near]) < 2:
            break
        slope, offset = np.polyfit(number[near], peaks[near], 1, w=np.sqrt(weights[near]))
        if abs(slope / period - 1.0) > 0.03:
            break
        period, first = float(slope), float(offset)
    return period, float(first % period)


def best_phase(peaks: Array, weights: Array, period: float) -> float:
    """Offset in seconds of the pulse train that the peaks match best; half beats count a little."""
    offsets = np.arange(0.0, period, 0.005)
    phase = signed_phase(peaks[None] - offsets[:, None], period)
    half = signed_phase(phase, 0.5 * period)
    match = np.exp(-0.5 * (phase / 0.04) ** 2) + 0.2 * np.exp(-0.5 * (half / 0.04) ** 2)
    return float(offsets[int(np.argmax(match @ weights))])


def signed_phase(times: Array, period: float) -> Array:
    """Seconds from the nearest multiple of a period, between -period / 2 and period / 2."""
    return np.asarray((times + 0.5 * period) % period - 0.5 * period, dtype=np.float64)


def grid_confidence(peaks: Array, weights: Array, period: float, first: float, searched: float = 0.0) -> float:
    """Share of the peaks on the grid's beats (half beats count half) beyond chance.

    Parameters
    ----------
    peaks, weights
        (p,) seconds, and how much each counts.
    period, first
        The grid in seconds.
    searched
        Seconds of peaks over which this grid was found to be the best of all; 0 for a grid that was given. The best of
        many grids fits peaks at random, too: what it gains grows with the logarithm of their number, and shrinks with
        the number of peaks.

    Returns
    -------
    0, about what peaks at random get, to nearly 1, every one of many peaks on a beat.
    """
    tolerance = min(TOLERANCE, 0.12 * period)
    late = np.abs(signed_phase(peaks - first, period))
    worth = np.where(late <= tolerance, 1.0, np.where(0.5 * period - late <= tolerance, 0.5, 0.0))
    share = float(worth @ weights / weights.sum())
    covered = 2.0 * tolerance / period
    chance = 1.5 * covered
    if searched > 0.0:
        spread = np.sqrt(1.25 * covered - chance**2)
        grids = max((HIGHEST_BPM - LOWEST_BPM) / 60.0 * searched / covered, 1.0)
        chance += spread * np.sqrt(2.0 * np.log(grids) / len(peaks))
    if chance >= 0.95:
        return 0.0
    proven = (len(peaks) - 2.0) / len(peaks)
    return float(np.clip((share - chance) / (1.0 - chance) * proven, 0.0, 1.0))
