"""Work spread over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from d2m_cli.ground.spread import spread


def test_results_come_in_order_though_the_first_takes_longest() -> None:
    def work(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0.0)
        return number * number

    with ThreadPoolExecutor(3) as threads:
        assert list(spread(threads, work, range(9), 3)) == [0, 1, 4, 9, 16, 25, 36, 49, 64]
        assert list(spread(threads, work, [], 3)) == []


def test_threads_work_side_by_side() -> None:
    together = threading.Barrier(2, timeout=20)
    with ThreadPoolExecutor(2) as threads:
        list(spread(threads, lambda _job: together.wait(), range(4), 2))


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_jobs_are_taken_than_there_is_room_for(most: int) -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(8):
            taken += 1
            yield number

    with ThreadPoolExecutor(2) as threads:
        for count, _ in enumerate(spread(threads, lambda job: job, jobs(), most)):
            assert taken - count <= most


def test_an_error_comes_where_the_result_would() -> None:
    def work(number: int) -> float:
        return 1 / (number - 2)

    with ThreadPoolExecutor(2) as threads:
        results = spread(threads, work, range(5), 2)
        assert [next(results), next(results)] == [-0.5, -1.0]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_room_for_nothing_is_refused() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="at least 1 job"):
        list(spread(threads, abs, [1], 0))
