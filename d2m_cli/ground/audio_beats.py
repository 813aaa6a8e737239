"""Beats of music."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

BEAT_TRACKER = "librosa.beat.beat_track"
"""What `track_beats` listens with, for the record."""


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
    import librosa

    mono = samples.mean(axis=0)
    if not np.any(mono):
        return np.zeros(0)
    with warnings.catch_warnings():
        # Of music shorter than one spectrum, which has no beats.
        warnings.filterwarnings("ignore", "n_fft=.* is too large", UserWarning)
        _, times = librosa.beat.beat_track(
            y=mono, sr=sample_rate, units="time", trim=False, start_bpm=bpm if bpm is not None else 120.0
        )
    return np.asarray(np.unique(times), dtype=np.float64)
