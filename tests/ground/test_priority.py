from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from d2m_cli.ground.priority import give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_gives_way_alone_and_no_further_than_there_is() -> None:
    before = niceness()

    def twice() -> list[int]:
        found = []
        for _ in range(3):
            give_way()
            found.append(niceness())
        return found

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(twice).result() == [min(before + 10, 19), 19, 19]
    assert niceness() == before
