from __future__ import annotations

from itertools import pairwise

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
