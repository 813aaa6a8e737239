"""Mel spectrograms, a part at a time: of a long piece no more is held than the result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.compiled import librosa_with

FRAMES = 4096
"""Spectra that are made at a time."""


def mel_power(
    samples: NDArray[np.float32], rate: int, size: int, hop: int, bands: int, highest: float | None = None
) -> NDArray[np.float32]:
    """Power of the mean of all channels in mel bands, as `librosa.feature.melspectrogram` gives it.

    Parameters
    ----------
    samples
        (channels, n) float32.
    rate
        In Hz.
    size
        Samples of each spectrum. There is silence before the first sample and behind the last.
    hop
        Samples from one spectrum to the next; the middle of the first is sample 0.
    bands
        How many.
    highest
        In Hz; None is half the rate.

    Returns
    -------
    (bands, 1 + n // hop) float32.
    """
    librosa = librosa_with()

    length = samples.shape[1]
    count = 1 + length // hop
    power = np.empty((bands, count), np.float32)
    for first in range(0, count, FRAMES):
        last = min(first + FRAMES, count)
        begin, end = first * hop - size // 2, (last - 1) * hop - size // 2 + size
        part = samples[:, max(begin, 0) : min(end, length)].mean(axis=0)
        part = np.pad(part, (max(-begin, 0), max(end - length, 0)))
        power[:, first:last] = librosa.feature.melspectrogram(
            y=part, sr=rate, n_fft=size, hop_length=hop, n_mels=bands, fmax=highest, center=False
        )
    return power
