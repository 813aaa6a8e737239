"""Beats of music whose tempo is nearly known: that of the dance it was made for, or shall go to.

The tracker is for snapping alone, and no measure of d2m uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.mel import Mel

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

FRAMES_PER_SECOND = 100
BANDS = 48
HIGHEST_HZ = 8000.0
WINDOW_SECONDS = 8.0
"""Over longer stretches than this a tempo need not be one and the same."""
STEP = 0.005
"""From one tempo that is tried to the next, as a share."""
WEIGHTS = (1.0, 0.6, 0.3)
"""Of the pulses that a beat has: its own, halves of it, and quarters."""
LOWEST_BPM, HIGHEST_BPM = 50.0, 200.0
TIGHTNESS = 20.0
"""How much even beats count beside strong ones. Low, since music that a network made has no steady clock."""
OCTAVES = (1.0, 2.0, 0.5)
"""Tempi of music, in those of the dance, that are tried in turn."""
LEAST_FIT = 0.7
"""How well a tempo must fit beside the best of all: below, music keeps another tempo. Music made for a tempo has 0.8
to 1, for tempi 20 to 30 % off 0.2 to 0.65."""
BLUR = 1.5
"""Frames by which an onset is spread."""


@dataclass(frozen=True, repr=False, eq=False)
class Onsets:
    """Where something begins in some music: what its beats are strung from, for any number of tempi.

    Attributes
    ----------
    strength
        (frames,) as `onset_strength` gives it.
    """

    strength: Array

    @classmethod
    def of(cls, samples: Samples, rate: int) -> Onsets:
        """Those of (channels, n) audio at a rate in Hz."""
        return cls(onset_strength(samples, rate))

    @cached_property
    def _best(self) -> float:
        """How well the best tempo of all fits."""
        everywhere = np.exp(np.arange(np.log(LOWEST_BPM), np.log(HIGHEST_BPM), STEP))
        return float(tempo_fit(self.strength, everywhere).max())

    def follow(self, bpm: float, reach: float = 0.08) -> tuple[Array, float]:
        """Beats at about a given tempo, and how well it fits; as `follow_beats` gives them."""
        if not np.any(self.strength):
            return np.zeros(0), 0.0
        span = np.log1p(reach)
        near = bpm * np.exp(np.linspace(-span, span, 2 * round(span / STEP) + 1))
        fits = tempo_fit(self.strength, near)
        best = float(near[int(fits.argmax())])
        return string_beats(self.strength, best), float(fits.max()) / max(float(fits.max()), self._best)

    def follow_any(self, bpm: float, reach: float = 0.08) -> tuple[Array, float]:
        """The same at a given tempo, or where that does not fit at twice or half of it; empty where none of them does.

        Other octaves are tried between `LOWEST_BPM` and `HIGHEST_BPM` alone. The fit is that of the given tempo where
        no octave fits.
        """
        first = 0.0
        for octave in OCTAVES:
            if octave != 1.0 and not LOWEST_BPM <= octave * bpm <= HIGHEST_BPM:
                continue
            beats, fit = self.follow(octave * bpm, reach)
            if fit >= LEAST_FIT:
                return beats, fit
            first = first or fit
        return np.zeros(0), first


def follow_beats(samples: Samples, rate: int, bpm: float, reach: float = 0.08) -> tuple[Array, float]:
    """Beats of music at about a given tempo.

    The tempo is the one within reach whose sinusoids, and those of half and a quarter of its period, fit the onset
    strength best; beats are strung along the onsets at about that distance by dynamic programming (Ellis, "Beat
    Tracking by Dynamic Programming", 2007).

    Parameters
    ----------
    samples
        (channels, n) audio.
    rate
        Hz.
    bpm
        Beats a minute to expect.
    reach
        How far the music's tempo may be from it, as a share.

    Returns
    -------
    beats
        (b,) float64 seconds, rising; empty for silence.
    fit
        How well that tempo fits beside the best one of all between `LOWEST_BPM` and `HIGHEST_BPM`, 0 to 1.
    """
    return Onsets.of(samples, rate).follow(bpm, reach)


def onset_strength(samples: Samples, rate: int) -> Array:
    """(frames,) rise of the loudness of 48 bands, `FRAMES_PER_SECOND` a second; zeros for silence."""
    hop, size = round(rate / FRAMES_PER_SECOND), 2 ** round(np.log2(1024 * rate / 24000))
    if samples.shape[1] < size or not np.any(samples):
        return np.zeros(0)
    highest = min(HIGHEST_HZ, rate / 2)
    mel = Mel(samples, rate, size, hop, BANDS, highest)
    most = max(*(float(power.max()) for _, power in mel), 1e-12)
    rise = np.zeros(mel.count)
    for first, power in mel:
        steps = np.diff(np.log1p(900.0 * power / most), axis=1)
        rise[first + 1 : first + power.shape[1]] = np.maximum(steps, 0.0).mean(axis=0)
    return rise


def tempo_fit(strength: Array, bpm: Array) -> Array:
    """How well pulses of some tempi fit an onset strength, (t,)."""
    from scipy.ndimage import uniform_filter1d

    centred = strength - uniform_filter1d(strength, FRAMES_PER_SECOND, mode="nearest")
    size = round(WINDOW_SECONDS * FRAMES_PER_SECOND)
    starts = range(0, max(len(centred) - size // 2, 1), size // 2)
    fits = np.zeros(len(bpm))
    for start in starts:
        part = centred[start : start + size]
        clock = np.arange(len(part)) / FRAMES_PER_SECOND
        pulses = np.exp(-2j * np.pi / 60.0 * bpm[:, None] * clock)
        for weight in WEIGHTS:
            fits += weight * np.abs(pulses @ part)
            pulses *= pulses
    return fits


def string_beats(strength: Array, bpm: float) -> Array:
    """Moments of strong onsets that follow one another at about a tempo's distance, (b,) seconds."""
    from scipy.ndimage import gaussian_filter1d

    period = 60.0 / bpm * FRAMES_PER_SECOND
    smooth = gaussian_filter1d(strength / strength.std(), BLUR)
    lags = np.arange(round(0.75 * period), round(1.33 * period) + 1)
    cost = TIGHTNESS * np.log(lags / period) ** 2
    total, before = smooth.copy(), np.full(len(smooth), -1)
    for frame in range(int(lags[0]), len(smooth)):
        reached = lags[: frame - int(lags[0]) + 1]
        worth = total[frame - reached] - cost[: len(reached)]
        best = int(worth.argmax())
        if worth[best] > 0.0:
            total[frame] += worth[best]
            before[frame] = frame - reached[best]
    last = max(len(smooth) - round(1.2 * period), 0)
    at = last + int(total[last:].argmax())
    beats = []
    while at >= 0:
        beats.append(at)
        at = int(before[at])
    return np.array(beats[::-1], dtype=np.float64) / FRAMES_PER_SECOND
