from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from d2m_cli.generation.windows import Window, plan_windows, window_seed


def test_a_short_video_gets_one_window() -> None:
    assert plan_windows(1.3) == (Window(0, 0.0, 5.12),)
    assert plan_windows(5.12) == (Window(0, 0.0, 5.12),)


def test_starts_by_hand() -> None:
    # 5.12 - 0.64 = 4.48 s are 56 columns of 0.08 s; 9.6 s end exactly with the second window, 9.61 s need a third.
    assert [window.start for window in plan_windows(9.6, 5.12, 0.64)] == [0.0, 4.48]
    assert [window.start for window in plan_windows(9.61, 5.12, 0.64)] == [0.0, 4.48, 8.96]
    # 5.12 - 0.5 = 4.62 s hold 57 whole columns, 4.56 s.
    assert [window.start for window in plan_windows(10.0, 5.12, 0.5)] == [0.0, 4.56, 9.12]


@pytest.mark.parametrize("duration", [0.04, 5.13, 7.3, 29.97, 60.0, 600.02])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.64, 1.28, 2.56])
def test_windows_cover_the_video(duration: float, overlap: float) -> None:
    windows = plan_windows(duration, 5.12, overlap)
    assert windows[0].start == 0.0
    assert windows[-1].end >= duration - 1e-9
    assert len(windows) == 1 or windows[-2].end < duration
    for earlier, later in pairwise(windows):
        assert earlier.end - later.start >= overlap - 1e-9
    for window in windows:
        assert abs(window.start / 0.08 - round(window.start / 0.08)) < 1e-6


def test_windows_start_on_beats_by_hand() -> None:
    # At 125 bpm four beats are 1.92 s, and eight 3.84, the longest hop that leaves 1.28 s: every eighth beat from 0.16.
    beats = np.arange(0.16, 30.0, 0.48)
    starts = [window.start for window in plan_windows(20.0, 5.12, 1.28, beats=beats)]
    assert starts == [0.0, 2.08, 5.92, 9.76, 13.6, 17.44]
    # At 112 bpm bars would take twice as many windows. 6 beats are 3.2143 s: 0.22 + 3.2143 = 3.434 s, of which the
    # nearest column is 3.44; in 12 s as many windows as without beats (3) fit only on any beat: 13 from the first.
    beats = 0.22 + np.arange(40) * 60 / 112
    assert [window.start for window in plan_windows(12.0, 5.12, 1.28, beats=beats)] == [0.0, 3.44, 7.2]
    assert [window.start for window in plan_windows(19.0, 5.12, 1.28, beats=beats)][:3] == [0.0, 3.44, 6.64]


@pytest.mark.parametrize("bpm", [50.0, 72.0, 88.0, 97.3, 112.0, 124.0, 143.0, 180.0])
@pytest.mark.parametrize("duration", [4.0, 5.2, 12.0, 61.7])
@pytest.mark.parametrize("quantum", [0.08, 0.02])
def test_windows_on_beats_cover_the_video(bpm: float, duration: float, quantum: float) -> None:
    beats = np.arange(0.37, duration, 60 / bpm)
    windows, even = plan_windows(duration, 5.12, 1.28, quantum, beats), plan_windows(duration, 5.12, 1.28, quantum)
    assert windows[0].start == 0.0
    assert windows[-1].end >= duration - 1e-9
    assert len(windows) <= max(1.25 * len(even), len(even) + 1)
    for earlier, later in pairwise(windows):
        assert earlier.start < later.start
        assert earlier.end - later.start >= 1.28 - 1e-9
        assert abs(later.start / quantum - round(later.start / quantum)) < 1e-6
        assert np.abs(beats - later.start).min() <= quantum / 2 + 1e-9


def test_no_window_is_all_context_or_misses_a_beat_that_another_step_finds() -> None:
    # Four beats of 61 bpm are 3.93 s, more than a hop of 3.84: from 0.1 s every second beat, at 2.07, 4.03 and 6 s.
    beats = 0.1 + np.arange(10) * 60 / 61
    assert [window.start for window in plan_windows(9.0, 5.12, 1.28, beats=beats)] == [0.0, 2.08, 4.0]
    # At 60 bpm every second beat takes 29 windows, so each third one from 2.9 s does, and none is nearer than that.
    beats = np.arange(0.9, 62.0, 1.0)
    starts = [window.start for window in plan_windows(60.0, 5.12, 1.28, beats=beats)]
    assert starts[1:] == pytest.approx(np.arange(2.9, 57.0, 3.0), abs=0.04)


def test_where_no_beat_is_near_windows_are_a_hop_apart() -> None:
    # Beats end at 4 s: the last, at 3.5 s, is 44 columns, and from there on hops are of 3.84 s as without beats.
    beats = np.arange(0.0, 4.0, 0.5)
    assert [window.start for window in plan_windows(14.0, 5.12, 1.28, beats=beats)] == [0.0, 3.52, 7.36, 11.2]
    assert plan_windows(15.0, 5.12, 1.28, beats=np.zeros(0)) == plan_windows(15.0, 5.12, 1.28)


@pytest.mark.parametrize(("duration", "overlap"), [(0.0, 0.64), (-1.0, 0.64), (10.0, 5.12), (10.0, -0.1), (10.0, 5.1)])
def test_what_makes_no_sense_is_refused(duration: float, overlap: float) -> None:
    with pytest.raises(ValueError, match="s"):
        plan_windows(duration, 5.12, overlap)


def test_seeds_hang_on_seed_content_and_index_alone() -> None:
    seeds = {window_seed(s, c, i) for s in (0, 1) for c in ("aa", "bb") for i in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    # From `printf 7/aa/3 | b2sum -l 64`, halved.
    assert window_seed(7, "aa", 3) == int("cd16f286b08d6556", 16) >> 1
