"""Tempo and first beat of a window, from beats heard in and around it."""

from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.training.data.music_tempo import LAG, tempo_at


def test_tempo_of_even_beats_by_hand() -> None:
    # Beats at 0.3 + k * 0.5 as the tracker hears them; the window starts at 6.0: the next is at 6.3, heard LAG late.
    tempo = tempo_at(0.3 + LAG + 0.5 * np.arange(30), 6.0, 5.12)  # type: ignore[arg-type]
    assert tempo is not None
    assert tempo.bpm == pytest.approx(120.0)
    assert tempo.first_beat == pytest.approx(0.3)
    assert tempo.confidence == pytest.approx(1.0)


def test_missed_and_stray_beats_do_not_bend_the_line() -> None:
    beats = 0.2 + LAG + 0.6 * np.arange(30)
    heard = np.sort(np.concatenate([np.delete(beats, [3, 10, 11]), [0.05]]))
    tempo = tempo_at(heard, 4.0, 5.12)
    assert tempo is not None
    assert tempo.bpm == pytest.approx(100.0, rel=2e-3)
    # 0.2 + 7 * 0.6 is the first at or after 4.0.
    assert tempo.first_beat == pytest.approx(0.4, abs=0.01)


def test_too_few_beats_tell_no_tempo() -> None:
    assert tempo_at(np.array([1.0, 1.5, 2.0]), 0.0, 5.12) is None
    assert tempo_at(np.arange(40.0, 60.0, 0.5), 0.0, 5.12) is None
