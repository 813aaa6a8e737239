"""Beats of music."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.compiled import librosa_with
from d2m_cli.ground.mel import FRAMES, mel_power

BEAT_TRACKER = "librosa.beat.beat_track"
"""What `track_beats` listens with, for the record."""

SIZE, HOP, BANDS, FAINTEST, RANGE_DB, TEMPO_SECONDS = 2048, 512, 128, 1e-10, 80.0, 8.0
"""As librosa's functions have them where nothing is said: they are called with a part of a long piece at a time."""


def track_beats(samples: NDArray[np.float32], sample_rate: int, bpm: float | None = None) -> NDArray[np.float64]:
    """Beats of music, as librosa's dynamic-programming tracker hears them.

    Parameters
    ----------
    samples
        (channels, n) float32.
    sample_rate
        In Hz.
    bpm
        Tempo to expect in beats per minute, or None.

    Returns
    -------
    (b,) float64 seconds, rising; empty for silence.
    """
    librosa = librosa_with("beat")

    if not np.any(samples):
        return np.zeros(0)
    strength = _onset_strength(samples, sample_rate)
    if not np.any(strength):
        return np.zeros(0)
    tempo = librosa.feature.tempo(
        tg=_mean_tempogram(strength, sample_rate),
        sr=sample_rate,
        hop_length=HOP,
        start_bpm=bpm if bpm is not None else 120.0,
    )
    _, times = librosa.beat.beat_track(
        onset_envelope=strength, sr=sample_rate, hop_length=HOP, bpm=float(tempo[0]), units="time", trim=False
    )
    return np.asarray(np.unique(times), dtype=np.float64)


def _onset_strength(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """(frames,) what the tracker takes for it of sound: the median rise of its bands in dB, at the middle of a rise."""
    librosa = librosa_with("beat")

    loudness = mel_power(samples, rate, SIZE, HOP, BANDS)
    np.maximum(loudness, FAINTEST, out=loudness)
    np.log10(loudness, out=loudness)
    loudness *= 10.0
    np.maximum(loudness, loudness.max() - RANGE_DB, out=loudness)
    count = loudness.shape[1]
    strength = np.zeros(count, np.float32)
    delay = SIZE // (2 * HOP)
    for first in range(1, count - delay, FRAMES):
        last = min(first + FRAMES, count - delay)
        rise = librosa.onset.onset_strength(
            S=loudness[:, first - 1 : last], sr=rate, hop_length=HOP, aggregate=np.median, center=False
        )
        strength[first + delay : last + delay] = rise[1:]
    return strength


def _mean_tempogram(strength: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """(lags, 1) mean of `librosa.feature.tempogram` over time."""
    librosa = librosa_with("beat")

    size = int(librosa.time_to_frames(TEMPO_SECONDS, sr=rate, hop_length=HOP))
    count = len(strength)
    padded = np.pad(strength, size // 2, mode="linear_ramp", end_values=0)
    total = np.zeros(size)
    for first in range(0, count, FRAMES):
        last = min(first + FRAMES, count)
        part = padded[first : last + size - 1]
        total += librosa.feature.tempogram(
            onset_envelope=part, sr=rate, hop_length=HOP, win_length=size, center=False
        ).sum(axis=1)
    mean: NDArray[np.float64] = total[:, None] / count
    return mean
