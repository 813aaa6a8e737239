"""Onsets of music as public code of this field picks them: peaks of librosa's onset strength at 22.05 kHz.

The two public settings differ only in the windows of the peak picking, so one strength serves both (and
`d2m_cli.evaluation.rhythm.beat_tracker`). Onsets lie on frames of 23 ms and come out some 15 ms late, as they do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.audio_beats import HOP
from d2m_cli.ground.audio_beats import onset_strength as librosas_strength
from d2m_cli.ground.compiled import librosa_with
from d2m_cli.media.audio import resample

Times = NDArray[np.float64]

RATE = 22050
"""Hz; the rate that librosa loads at, and with it the public code."""
FRAMES_PER_SECOND = RATE / HOP
SHORTEST = 2048
"""Samples under which there is no strength to pick from: one window of the spectrogram."""
SILENCE = 1e-4
"""Peak (-80 dB) up to which there is silence. The strength is scaled to its maximum: without this, the dither of a
silent file would have as many onsets as music."""


@dataclass(frozen=True)
class PeakPicking:
    """How `librosa.util.peak_pick` is set, in frames; an onset exceeds the mean around it by `delta` of the maximum."""

    pre_max: int
    post_max: int
    pre_avg: int
    post_avg: int
    delta: float = 0.2
    wait: int = 1


LORIS = PeakPicking(pre_max=3, post_max=3, pre_avg=3, post_avg=3)
"""OpenGVLab/LORIS, beats_scores.py."""
CDCD = PeakPicking(pre_max=1, post_max=1, pre_avg=1, post_avg=1)
"""L-YeZhu/CDCD, inference_aist.py, and D2M-GAN. `pre_max` is librosa's default there, one frame at this rate. With
these windows an onset is a rise by 0.4 from one frame to the next: a click that falls between two frames can be missed.
"""


def to_mono(samples: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float32]:
    """(n,) mean of the channels at `RATE`.

    Raises
    ------
    ValueError
        The samples are not finite, or not (channels, n) or (n,).
    """
    sound = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if sound.ndim != 2 or not len(sound) or not np.isfinite(sound).all():
        raise ValueError(f"samples must be finite and of shape (channels, n) or (n,), not {np.shape(samples)}")
    mono = sound.mean(axis=0, keepdims=True)
    if rate != RATE and mono.size:
        mono = resample(mono, rate, RATE)
    return np.asarray(mono[0], dtype=np.float32)


def onset_strength(mono: NDArray[np.float32]) -> NDArray[np.float64]:
    """Spectral flux of (n,) samples at `RATE`, `FRAMES_PER_SECOND` a second; (0,) for silence and very short sound."""
    if len(mono) < SHORTEST or np.abs(mono).max() <= SILENCE:
        return np.zeros(0)
    return librosas_strength(mono[None], RATE, np.mean).astype(np.float64)


def pick_onsets(strength: NDArray[np.float64], picking: PeakPicking) -> Times:
    """Times of the onsets in an `onset_strength`, (o,) seconds, rising."""
    if not len(strength):
        return np.zeros(0)
    librosa = librosa_with("onset")

    times = librosa.onset.onset_detect(
        onset_envelope=strength,
        sr=RATE,
        hop_length=HOP,
        units="time",
        wait=picking.wait,
        delta=picking.delta,
        pre_avg=picking.pre_avg,
        post_avg=picking.post_avg,
        pre_max=picking.pre_max,
        post_max=picking.post_max,
    )
    return np.asarray(times, dtype=np.float64)
