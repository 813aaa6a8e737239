"""Several takes of one window, and which of them keeps time with the dance.

A backbone hits the asked tempo within a few per cent, and a few per cent over five seconds are a quarter of a beat. So
a window is drawn more than once, and the take whose onsets fall on the dance's beats is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.windows import Window
from d2m_cli.rhythm.sequence import Rhythm

FRAMES_PER_SECOND = 100
REACH = 0.03
"""Seconds by which an onset may miss a beat and still count in full."""


def wanted_times(rhythm: Rhythm, window: Window) -> NDArray[np.float64]:
    """Times in seconds from the window's start at which the dance asks for an onset: its beats, else its peaks."""
    times = (rhythm.beats.beats if rhythm.beats.steady else rhythm.peaks) - window.start
    inside: NDArray[np.float64] = times[(times >= 0) & (times < window.seconds)]
    return inside


def timeliness(samples: NDArray[np.float32], rate: int, times: NDArray[np.float64]) -> float:
    """How much stronger onsets are at given times than on the whole.

    Parameters
    ----------
    samples
        (channels, n) audio.
    rate
        Hz.
    times
        Seconds at which onsets are wanted.

    Returns
    -------
    Mean onset strength (librosa's spectral flux) within `REACH` of the times over its mean everywhere; 0 where there is
    nothing to compare.
    """
    import librosa

    hop = rate // FRAMES_PER_SECOND
    strength = librosa.onset.onset_strength(y=samples.mean(0), sr=rate, hop_length=hop)
    average = float(strength.mean())
    if not len(times) or average <= 0:
        return 0.0
    reach = round(REACH * FRAMES_PER_SECOND)
    near = [strength[max(0, at - reach) : at + reach + 1] for at in np.round(times * rate / hop).astype(int)]
    return float(np.mean([part.max() for part in near if len(part)])) / average


def choose_take(takes: Sequence[NDArray[np.float32]], rate: int, rhythm: Rhythm, window: Window) -> int:
    """Number of the take that keeps time best; the first of equals, and of takes to a dance without rhythm."""
    if len(takes) == 1:
        return 0
    times = wanted_times(rhythm, window)
    return int(np.argmax([timeliness(take, rate, times) for take in takes]))
