"""Loudness against the figures of the standards."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.evaluation.listening.loudness import loudness

RATE = 48000


def tone(level: float, seconds: float, pitch: float, channels: int) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.tile(10 ** (level / 20) * np.sin(2 * np.pi * pitch * times), (channels, 1)).astype(np.float32)


def test_loudness_is_that_of_the_standards() -> None:
    # BS.1770: 997 Hz at full scale in one channel is -3.01. EBU Tech 3341, cases 1 and 3 (shorter): -23.0 both.
    assert loudness(tone(0.0, 5.0, 997.0, 1), RATE) == pytest.approx(-3.01, abs=0.02)
    assert loudness(tone(-23.0, 5.0, 1000.0, 2), RATE) == pytest.approx(-23.0, abs=0.1)
    parts = [tone(level, seconds, 1000.0, 2) for level, seconds in ((-36.0, 1.0), (-23.0, 30.0), (-36.0, 1.0))]
    assert loudness(np.concatenate(parts, axis=1), RATE) == pytest.approx(-23.0, abs=0.1)
    times = np.arange(3 * 32000) / 32000
    other_rate = 0.1 * np.sin(2 * np.pi * 997 * times).astype(np.float32)[None]
    assert loudness(other_rate, 32000) == pytest.approx(-23.01, abs=0.02)
    assert loudness(np.zeros((2, RATE), np.float32), RATE) is None
    assert loudness(tone(0.0, 0.39, 997.0, 1), RATE) is None
    assert loudness(tone(0.0, 0.40, 997.0, 1), RATE) is not None
