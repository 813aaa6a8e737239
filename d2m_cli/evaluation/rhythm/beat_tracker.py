"""A beat tracker for evaluation alone: the predominant local pulse at one tempo.

Generation follows beats with dynamic programming and chooses takes by onset strength; a judge that listened the same
way would favour its own choices. This one fits sinusoids. The tempo is the one at which the spectrum and the
autocorrelation of the onset strength agree (their octave errors differ: Peeters, "Template-Based Estimation of
Time-Varying Tempo", 2007). Around it, every frame takes the sinusoid that fits its surroundings best, and beats are the
peaks of all of them added up (Grosche and Müller, "Extracting Predominant Local Pulse Information from Music
Recordings", 2011). librosa's `plp` does the last step on frequencies that are 6.7 bpm apart, so that a pulse is off by
tens of milliseconds at the ends of a clip of 5 s; here they are 1 % apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from d2m_cli.evaluation.rhythm.onsets import FRAMES_PER_SECOND, Times

Array = NDArray[np.float64]

TRACKER = "predominant local pulse (Grosche and Müller 2011) of librosa's onset strength"
"""What `pulse_beats` listens with, for the record."""

LOWEST_BPM, HIGHEST_BPM = 60.0, 180.0
STEP_BPM = 0.5
PRIOR_BPM, PRIOR_OCTAVES = 110.0, 0.8
SHORTEST_SECONDS = 2.0
"""Two beats of the slowest tempo; less has no tempo."""
WINDOW_SECONDS = 8.0
BAND, BAND_STEP = 0.08, 0.01
"""How far the local tempo may be from the clip's, and in which steps, as shares."""
LEVEL_SECONDS = 2.0
"""Length of the running mean that is taken off the onset strength: silence shall have no pulse."""
LEAST_FIT = 0.01
"""Strength of a sinusoid as a share of the strongest; a weaker one is what passages of silence leave."""
LEAST_PULSE = 0.1
"""Height of a beat as a share of the highest; lower ones lie where the pulse changes."""
LAG = 0.022
"""Seconds by which the onset strength of a click comes late."""


def pulse_beats(strength: Array) -> Times:
    """Beats of music, (b,) seconds, rising.

    Parameters
    ----------
    strength
        (frames,) of `d2m_cli.evaluation.rhythm.onsets.onset_strength`.

    Returns
    -------
    Times from 0 on; empty for silence and for less than `SHORTEST_SECONDS`.
    """
    bpm = pulse_tempo(strength)
    if bpm is None:
        return np.zeros(0)
    pulse = local_pulse(strength, bpm)
    return peaks(pulse) / FRAMES_PER_SECOND - LAG


def pulse_tempo(strength: Array) -> float | None:
    """Tempo in beats per minute between `LOWEST_BPM` and `HIGHEST_BPM`, or None where nothing repeats."""
    if len(strength) < SHORTEST_SECONDS * FRAMES_PER_SECOND:
        return None
    centred = strength - strength.mean()
    power = float(centred @ centred)
    if power <= 1e-12 * len(strength):
        return None
    bpm = np.arange(LOWEST_BPM, HIGHEST_BPM + STEP_BPM, STEP_BPM)
    score = np.sqrt(spectrum_at(centred, bpm / 60.0)) * autocorrelation_at(centred, 60.0 / bpm)
    score *= np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    best = int(np.argmax(score))
    return float(bpm[best]) if score[best] > 0.0 else None


def spectrum_at(centred: Array, frequencies: Array) -> Array:
    """Magnitude of the spectrum at frequencies in Hz, (f,)."""
    size = fft.next_fast_len(4 * len(centred), real=True)
    magnitude = np.abs(fft.rfft(centred * np.hanning(len(centred)), size))
    found: Array = np.interp(frequencies, np.arange(len(magnitude)) * FRAMES_PER_SECOND / size, magnitude)
    return found


def autocorrelation_at(centred: Array, lags: Array) -> Array:
    """Autocorrelation at lags in seconds, (l,), at least 0; beyond three quarters of the clip it fades."""
    n = len(centred)
    size = fft.next_fast_len(2 * n, real=True)
    products = fft.irfft(np.abs(fft.rfft(centred, size)) ** 2, size)[:n]
    correlation = products / np.maximum(n - np.arange(n), 0.25 * n)
    found: Array = np.maximum(np.interp(lags, np.arange(n) / FRAMES_PER_SECOND, correlation, right=0.0), 0.0)
    return found


def local_pulse(strength: Array, bpm: float) -> Array:
    """Sum of the sinusoids that fit best around each frame, (frames,).

    Parameters
    ----------
    strength
        (frames,) onset strength.
    bpm
        Tempo of the clip; the sinusoids' tempi lie within `BAND` of it.
    """
    steps = round(np.log1p(BAND) / BAND_STEP)
    frequencies = bpm / 60.0 * np.exp(np.arange(-steps, steps + 1) * BAND_STEP)
    half = round(0.5 * WINDOW_SECONDS * FRAMES_PER_SECOND)
    window = np.hanning(2 * half + 1)[None]
    clock = np.arange(len(strength)) / FRAMES_PER_SECOND
    turn = np.exp(-2j * np.pi * frequencies[:, None] * clock)
    level = ndimage.uniform_filter1d(strength, round(LEVEL_SECONDS * FRAMES_PER_SECOND), mode="nearest")
    fits = _around((strength - level) * turn, window)
    frame = np.arange(len(strength))
    best = np.abs(fits).argmax(axis=0)
    fit = fits[best, frame]
    size = np.abs(fit)
    chosen = np.zeros_like(fits)
    chosen[best, frame] = np.where(size > LEAST_FIT * size.max(), fit / np.maximum(size, 1e-300), 0.0)
    return np.asarray((_around(chosen, window) * turn.conj()).sum(axis=0).real, dtype=np.float64)


def _around(rows: NDArray[np.complex128], window: Array) -> NDArray[np.complex128]:
    """Sum of each row around every frame, weighted by a window of odd length."""
    half = window.shape[1] // 2
    full = signal.fftconvolve(rows, window, mode="full", axes=1)
    return np.asarray(full[:, half : half + rows.shape[1]], dtype=np.complex128)


def peaks(curve: Array) -> Array:
    """Frames, with fraction, at which a curve peaks at `LEAST_PULSE` of its maximum or more, (p,)."""
    index, _ = signal.find_peaks(curve, height=LEAST_PULSE * float(curve.max()))
    before, here, after = curve[index - 1], curve[index], curve[index + 1]
    bend = before - 2.0 * here + after
    return np.asarray(index + np.where(bend < 0.0, 0.5 * (before - after) / np.where(bend < 0.0, bend, 1.0), 0.0))
