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
    pace.at(0, 0.5)
    # What music costs is not known before some is made.
    assert pace.left() is None
    clock.now = 5.0
    assert pace.stage(0, "music") == (Ended("look", 5.0),)
    assert pace.left() is None
    clock.now = 9.0
    pace.at(0, 0.2)
    # Looking took 0.5 s a second of video, and music takes 4 s for 2 s of it: 16 s here, and twice 5 + 20 s.
    assert pace.left() == pytest.approx(16 + 2 * 25)
    # Between two reports the clock goes on, as far as the last step went.
    clock.now = 11.0
    assert pace.left() == pytest.approx(14 + 2 * 25)
    clock.now = 30.0
    assert pace.left() == pytest.approx(12 + 2 * 25)
    pace.stage(0, "write")
    # 25 s for music in all: 2.5 s a second of video.
    assert pace.left() == pytest.approx(2 * 30)
    clock.now = 31.0
    assert pace.finish(0, done=True) == (Ended("write", 1.0),)
    assert pace.left() == pytest.approx(2 * 31)
    assert pace.through == {"look": 1, "music": 1, "write": 1}
    # One of half the length costs half; of the one that waits nothing else is known than the mean of both.
    pace.start(1)
    pace.length(1, 5.0)
    assert pace.left() == pytest.approx(3.1 * 5 + 3.1 * 7.5)


def test_time_is_shared_out_among_files_in_hand() -> None:
    clock = Clock()
    pace = Pace(4, ("work",), now=clock)
    for number in (0, 1):
        pace.start(number)
    clock.now = 10.0
    pace.at(0, 0.5)
    pace.at(1, 0.5)
    # Two halves in 10 s: each got 5 s, and so has 5 s to come; two whole ones cost 10 s each.
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
    clock.now = 8.0
    pace.loading(False)
    clock.now = 10.0
    # Half of 8 s beside the loading, and 2 s alone.
    assert pace.stage(0, "music") == (Ended("look", 10.0),)
    pace.wait(0)
    clock.now = 100.0
    pace.at(0, 0.0)
    clock.now = 103.0
    pace.at(0, 0.5)
    # Looking 6 s, music 3 s for a half: 3 s of this one, and 12 s of each of the others.
    assert pace.left() == pytest.approx(3 + 2 * 12)


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
    clock.now += 4.0
    pace.at(6, 0.4)
    # Four files at 10 s each, of which 4 s are over.
    assert pace.left() == pytest.approx(36)
    # Two in hand at once, one with poses that nobody kept.
    pace.stage(6, "write")
    pace.finish(6, done=True)
    pace.start(7)
    clock.now += 6.0
    pace.stage(7, "music")
    # Looking: 6 s for 1 + KEEP * 0 files; of the one that ended nothing has faded yet.
    assert pace.left() == pytest.approx(4 + 2 * (6 / 2 + 4))


def test_a_file_that_another_run_made_is_no_work_of_this_one() -> None:
    clock = Clock()
    pace = Pace(4, ("work",), now=clock)
    pace.start(0)
    clock.now = 10.0
    pace.finish(0, done=True)
    assert pace.left() == pytest.approx(30)
    pace.start(1)
    pace.finish(1, done=False, tried=False)
    # Of two files one cost 10 s, which counts a little less by now.
    assert pace.left() == pytest.approx(2 * 10 * KEEP / (KEEP + 1))


def test_a_failure_costs_what_it_took_and_says_nothing_of_the_rest_of_the_way() -> None:
    clock = Clock()
    pace = Pace(4, STAGES, now=clock)
    pace.start(0)
    clock.now = 1.0
    pace.finish(0, done=False)
    assert pace.left() is None
    pace.start(1)
    pace.length(1, 10.0)
    clock.now = 6.0
    pace.stage(1, "music")
    clock.now = 16.0
    pace.stage(1, "write")
    pace.finish(1, done=True)
    assert pace.left() == pytest.approx(2 * 15)
    pace.start(2)
    clock.now = 18.0
    pace.finish(2, done=False)
    # 10 s of music and 5 + 2 s of looking for two files, the first of which counts a little less by now.
    assert pace.left() == pytest.approx((10 * KEEP + 5 * KEEP + 2) / (KEEP + 1))
    assert pace.through == {"look": 1, "music": 1, "write": 1}


def test_a_heavier_file_is_heavier_to_its_end() -> None:
    clock = Clock()
    pace = Pace(2, ("work",), now=clock)
    pace.start(0)
    clock.now = 10.0
    pace.finish(0, done=True)
    pace.start(1)
    clock.now = 30.0
    pace.at(1, 0.5)
    # A half of it took 20 s, as two files would of the first kind: 30 s for 1.5 files, of which 0.95 have not faded.
    own, others = 20.0, 30 / 1.5
    assert pace.left() == pytest.approx((own + OWN * others) / (0.5 + OWN) * 0.5)


def test_little_of_a_stage_says_nothing_of_it() -> None:
    clock = Clock()
    pace = Pace(1, ("work",), now=clock)
    pace.start(0)
    clock.now = 1.0
    pace.at(0, 0.9 * ENOUGH)
    assert pace.left() is None
    clock.now = 2.0
    pace.at(0, 2 * ENOUGH)
    assert pace.left() == pytest.approx(8.0)
    assert pace.share() == pytest.approx(2 * ENOUGH)


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
