"""Sounds whose events are known exactly, as no detector found them."""

from __future__ import annotations

import numpy as np

RATE = 44100


def bursts(times: np.ndarray, seconds: float, rate: int = RATE, decay: float = 0.01, seed: int = 0) -> np.ndarray:
    """(1, n) noise that starts at once at each time and dies away over `decay` seconds."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * rate), np.float32)
    length = round(8 * decay * rate)
    for time in times:
        start = round(time * rate)
        part = sound[start : start + length]
        part += 0.3 * np.exp(-np.arange(len(part)) / (decay * rate)) * rng.standard_normal(len(part))
    return sound[None]


def clicks(times: np.ndarray, seconds: float, rate: int = RATE) -> np.ndarray:
    """(1, n) tones of 1.5 kHz, 5 ms long."""
    sound = np.zeros(round(seconds * rate), np.float32)
    ring = np.arange(round(0.03 * rate)) / rate
    for time in times:
        start = round(time * rate)
        part = sound[start : start + len(ring)]
        part += (0.5 * np.exp(-ring / 0.005) * np.sin(2 * np.pi * 1500 * ring))[: len(part)]
    return sound[None]


def metronome(bpm: float, seconds: float, first: float = 0.2) -> np.ndarray:
    """Even beats in seconds."""
    return np.arange(first, seconds - 0.05, 60.0 / bpm)


def nearest(times: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Signed distance of each time from the nearest other in seconds."""
    return times - to[np.abs(times[:, None] - to).argmin(axis=1)]
