"""Times left against hand calculations, on a clock that the test moves."""

from __future__ import annotations

import time

import pytest

from d2m_cli.batch.pace import ENOUGH, KEEP, OWN, Ended, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


STAGES = ("look", "music", "write")


def test_one_file_after_the_other() -> None:
    clock = Clock()
    pace = Pace(3, STAGES, now=clock)
    assert pace.left() is None
    pace.start(0)
    pace.length(0, 10.0)
    clock.now = 2.0
    pace.at(0, 0.2)
    clock.now = 6.0
    # What is loaded for the first step is not what a step takes: 4 s for 8 s of video, 0.5 s a second.
    assert pace.stage(0, "music") == (Ended("look", 6.0),)
    clock.now = 16.0
    pace.at(0, 0.2)
    # What music costs is not known before some more is made.
    assert pace.left() is None
    clock.now = 20.0
    pace.at(0, 0.4)
    # 4 s for 2 s of it: 12 s for the rest here, and twice 5 + 20 s.
    assert pace.left() == pytest.approx(12 + 2 * 25)
    # Between two reports the clock goes on, as far as the last step went.
    clock.now = 22.0
    assert pace.left() == pytest.approx(10 + 2 * 25)
    clock.now = 24.0
    assert pace.left() == pytest.approx(8 + 2 * 25)
    # A step that is late tells of those that follow: were it done now, 14 s for 4 s of video, and 4 s are to come.
    clock.now = 30.0
    assert pace.left() == pytest.approx(14 + 2 * 25)
    pace.stage(0, "write")
    # 14 s for 8 s: 1.75 s a second of video.
    assert pace.left() == pytest.approx(2 * (5 + 17.5))
    clock.now = 31.0
    assert pace.finish(0, done=True) == (Ended("write", 1.0),)
    assert pace.left() == pytest.approx(2 * (5 + 17.5 + 1))
    assert pace.through == {"look": 1, "music": 1, "write": 1}
    # One of half the length costs half; of the one that waits nothing else is known than the mean of both.
    pace.start(1)
    pace.length(1, 5.0)
    assert pace.left() == pytest.approx(2.35 * 5 + 2.35 * 7.5)


def test_time_is_shared_out_among_files_in_hand() -> None:
    clock = Clock()
    pace = Pace(4, ("work",), now=clock)
    for number in (0, 1):
        pace.start(number)
    clock.now = 2.0
    pace.at(0, 0.1)
    pace.at(1, 0.1)
    clock.now = 10.0
    pace.at(0, 0.5)
    pace.at(1, 0.5)
    # 4 s for 0.4 of the first and 5 s for 0.5 of the second: each has 5 s to come, and two whole ones cost 10 s each.
    assert pace.left() == pytest.approx(2 * 5 + 2 * 10)
    clock.now = 20.0
    assert pace.finish(0, done=True) == (Ended("work", 20.0),)
    assert pace.finish(1, done=True) == (Ended("work", 20.0),)
    assert pace.left() == pytest.approx(20)


def test_who_waits_costs_nothing_and_loading_is_counted_apart() -> None:
    clock = Clock()
    pace = Pace(3, STAGES, now=clock)
    pace.loading(True)
    pace.start(0)
    pace.start(1)
    pace.wait(1)
    clock.now = 2.0
    pace.at(0, 0.25)
    clock.now = 8.0
    pace.loading(False)
    clock.now = 10.0
    # Half of 6 s beside the loading, and 2 s alone: 5 s for three quarters.
    assert pace.stage(0, "music") == (Ended("look", 10.0),)
    pace.wait(0)
    clock.now = 100.0
    pace.at(0, 0.0)
    clock.now = 101.0
    pace.at(0, 0.25)
    clock.now = 104.0
    pace.at(0, 0.5)
    # 3 s for a quarter of the music: 6 s of this one, and 12 s of each of the others.
    assert pace.left() == pytest.approx(6 + 2 * (5 / 0.75 + 12))


def test_kept_poses_and_what_is_done_already_cost_nothing() -> None:
    clock = Clock()
    pace = Pace(10, STAGES, expected_done=range(6), now=clock)
    for number in range(6):
        pace.start(number)
        clock.now += 1.0
        assert pace.finish(number, done=False, tried=False) == ()
    assert pace.left() is None
    pace.start(6)
    assert pace.stage(6, "music") == (Ended("look", 0.0),)
    clock.now += 2.0
    pace.at(6, 0.2)
    clock.now += 4.0
    pace.at(6, 0.6)
    # 4 s for 0.4: this one takes 4 s more, and three others 10 s each.
    assert pace.left() == pytest.approx(34)
    clock.now += 4.0
    pace.stage(6, "write")
    pace.finish(6, done=True)
    # One with poses that nobody kept.
    pace.start(7)
    clock.now += 3.0
    pace.at(7, 0.5)
    clock.now += 3.0
    pace.stage(7, "music")
    # Looking: 3 s for one file and a half.
    assert pace.left() == pytest.approx(10 + 2 * (3 / 1.5 + 10))


def test_a_file_that_another_run_made_is_no_work_of_this_one() -> None:
    clock = Clock()
    pace = Pace(4, ("work",), now=clock)
    pace.start(0)
    clock.now = 1.0
    pace.at(0, 0.1)
    clock.now = 10.0
    pace.finish(0, done=True)
    assert pace.left() == pytest.approx(30)
    pace.start(1)
    pace.finish(1, done=False, tried=False)
    # Of two files one cost 10 s, which counts a little less by now.
    assert pace.left() == pytest.approx(2 * 9 * KEEP / (0.9 * KEEP + 1))


def test_a_failure_costs_what_it_took_and_says_nothing_of_the_rest_of_the_way() -> None:
    clock = Clock()
    pace = Pace(4, STAGES, now=clock)
    pace.start(0)
    clock.now = 1.0
    pace.finish(0, done=False)
    assert pace.left() is None
    pace.start(1)
    pace.length(1, 10.0)
    clock.now = 2.0
    pace.at(1, 0.2)
    clock.now = 6.0
    pace.stage(1, "music")
    clock.now = 7.0
    pace.at(1, 0.1)
    clock.now = 16.0
    pace.stage(1, "write")
    pace.finish(1, done=True)
    assert pace.left() == pytest.approx(2 * 15)
    pace.start(2)
    clock.now = 18.0
    pace.finish(2, done=False)
    # 4 + 2 s of looking and 9 s of music for two files, the first of which counts a little less by now.
    looking, music = (4 * KEEP + 2) / (8 * KEEP + 10), 9 * KEEP / (9 * KEEP + 10)
    assert pace.left() == pytest.approx(10 * (looking + music))
    assert pace.through == {"look": 1, "music": 1, "write": 1}


def test_a_heavier_file_is_heavier_to_its_end() -> None:
    clock = Clock()
    pace = Pace(2, ("work",), now=clock)
    pace.start(0)
    clock.now = 1.0
    pace.at(0, 0.1)
    clock.now = 10.0
    pace.finish(0, done=True)
    pace.start(1)
    clock.now = 30.0
    pace.at(1, 0.5)
    # A half of it took 20 s; all in all, 29 s went into 1.4 files.
    own, others = 20.0, 29 / 1.4
    assert pace.left() == pytest.approx((own + OWN * others) / (0.5 + OWN) * 0.5)


def test_little_of_a_stage_says_nothing_of_it() -> None:
    clock = Clock()
    pace = Pace(1, ("work",), now=clock)
    pace.start(0)
    clock.now = 1.0
    pace.at(0, 0.05)
    clock.now = 2.0
    pace.at(0, 0.05 + 0.9 * ENOUGH)
    assert pace.left() is None
    clock.now = 3.0
    pace.at(0, 0.25)
    # 2 s for a fifth.
    assert pace.left() == pytest.approx(7.5)
    assert pace.share() == pytest.approx(0.25)


def test_the_first_of_files_that_go_in_one_step_counts_until_there_is_another() -> None:
    clock = Clock()
    pace = Pace(4, ("work",), now=clock)
    pace.start(0)
    clock.now = 20.0
    pace.finish(0, done=True)
    assert pace.left() == pytest.approx(3 * 20)
    pace.start(1)
    clock.now = 25.0
    pace.finish(1, done=True)
    assert pace.left() == pytest.approx(2 * 5)


def test_twenty_thousand_files_take_no_time() -> None:
    begun = time.perf_counter()
    pace = Pace(20_000, STAGES)
    for number in range(20_000):
        pace.start(number)
        pace.stage(number, "write")
        pace.finish(number, done=True)
        if number % 10 == 0:
            pace.left()
    assert time.perf_counter() - begun < 10
    assert pace.left() is not None
