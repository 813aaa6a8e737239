from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.generation.music_beats import follow_beats, onset_strength, tempo_fit
from tests.generation.test_bend import RATE, hits


@pytest.mark.parametrize("bpm", [88.0, 120.0, 131.0])
@pytest.mark.parametrize("told", [0.95, 1.0, 1.06])
def test_beats_of_hits_are_the_hits(bpm: float, told: float) -> None:
    times = np.arange(0.3, 11.9, 60 / bpm)
    beats, fit = follow_beats(hits(times, 12.0), RATE, bpm * told)
    assert fit > 0.9
    assert np.abs(beats[:, None] - times[None]).min(axis=1).max() < 0.02
    assert np.abs(times[1:-1, None] - beats[None]).min(axis=1).max() < 0.02


def test_a_tempo_that_changes_is_followed() -> None:
    times = np.cumsum(np.concatenate([[0.2], np.full(12, 0.5), np.full(14, 0.47)]))
    beats, _ = follow_beats(hits(times, 13.5), RATE, 122.0)
    assert np.abs(times[:, None] - beats[None]).min(axis=1).max() < 0.025


def test_another_tempo_fits_less() -> None:
    times = np.arange(0.3, 11.9, 60 / 140)
    samples = hits(times, 12.0)
    assert follow_beats(samples, RATE, 112.0)[1] < 0.7
    assert follow_beats(samples, RATE, 140.0)[1] > 0.95
    fits = tempo_fit(onset_strength(samples, RATE), np.array([112.0, 126.0, 140.0, 154.0]))
    assert int(fits.argmax()) == 2


def test_silence_has_no_beats() -> None:
    assert follow_beats(np.zeros((2, RATE), np.float32), RATE, 120.0)[0].shape == (0,)
    assert follow_beats(np.zeros((1, 10), np.float32), RATE, 120.0)[0].shape == (0,)
