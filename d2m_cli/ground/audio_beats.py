"""Beats of music."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.compiled import librosa_with
from d2m_cli.ground.mel import Mel

BEAT_TRACKER = "librosa.beat.beat_track"
"""What `track_beats` listens with, for the record."""

SIZE, HOP, BANDS, FAINTEST, RANGE_DB, TEMPO_SECONDS = 2048, 512, 128, 1e-10, 80.0, 8.0
"""As librosa's functions have them where nothing is said: they are called with a part of a long piece at a time."""
AT_ONCE = 512
"""Columns of the tempogram that are made at a time, of which each takes 30 kB of room."""


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
    strength = onset_strength(samples, sample_rate, np.median)
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


def onset_strength(
    samples: NDArray[np.float32], rate: int, aggregate: Callable[..., NDArray[np.float32]]
) -> NDArray[np.float32]:
    """What `librosa.onset.onset_strength` gives for sound: by how many dB its bands rise, at the middle of a rise.

    Parameters
    ----------
    samples
        (channels, n) float32.
    rate
        In Hz.
    aggregate
        What one number is made of all bands' with: `numpy.mean`, or `numpy.median` as librosa's tracker has it.

    Returns
    -------
    (frames,) float32, one every `HOP` samples.
    """
    librosa = librosa_with("onset")

    def decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
        loudness: NDArray[np.float32] = np.float32(10.0) * np.log10(np.maximum(power, FAINTEST))
        return loudness

    mel = Mel(samples, rate, SIZE, HOP, BANDS)
    least = max(decibels(power).max() for _, power in mel) - RANGE_DB
    strength = np.zeros(mel.count, np.float32)
    delay = SIZE // (2 * HOP)
    for first, power in mel:
        # The last frames have no place behind the delay.
        loudness = np.maximum(decibels(power), least)[:, : max(mel.count - delay - first, 0)]
        if loudness.shape[1] > 1:
            rise = librosa.onset.onset_strength(S=loudness, sr=rate, hop_length=HOP, aggregate=aggregate, center=False)
            strength[first + delay + 1 : first + delay + len(rise)] = rise[1:]
    return strength


def _mean_tempogram(strength: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """(lags, 1) mean of `librosa.feature.tempogram` over time."""
    librosa = librosa_with("beat")

    size = int(librosa.time_to_frames(TEMPO_SECONDS, sr=rate, hop_length=HOP))
    count = len(strength)
    padded = np.pad(strength, size // 2, mode="linear_ramp", end_values=0)
    total = np.zeros(size)
    for first in range(0, count, AT_ONCE):
        last = min(first + AT_ONCE, count)
        part = padded[first : last + size - 1]
        total += librosa.feature.tempogram(
            onset_envelope=part, sr=rate, hop_length=HOP, win_length=size, center=False
        ).sum(axis=1)
    mean: NDArray[np.float64] = total[:, None] / count
    return mean
