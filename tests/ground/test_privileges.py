from __future__ import annotations

import os
import resource
from contextlib import suppress

import pytest

from d2m_cli.doctor.clips import KINDS, write_clip
from d2m_cli.ground.privileges import unprivileged


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has rights to leave aside")
def test_root_is_anyone_for_a_moment() -> None:
    with unprivileged():
        assert os.geteuid() == 65534
        with pytest.raises(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    assert os.geteuid() == 0
    with pytest.raises(ZeroDivisionError), unprivileged():
        1 / 0  # noqa: B018
    assert os.geteuid() == 0


def test_another_user_stays_and_has_no_such_right_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "seteuid", None)
    before = resource.getrlimit(resource.RLIMIT_RTPRIO)
    with unprivileged():
        assert resource.getrlimit(resource.RLIMIT_RTPRIO) == (0, before[1])
    assert resource.getrlimit(resource.RLIMIT_RTPRIO) == before


def test_root_that_may_not_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "seteuid", refuse)
    with unprivileged():
        pass


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system does not tell how threads take turns")
def test_encoders_leave_the_turns_of_threads_as_they_were(tmp_path) -> None:
    for kind in KINDS:
        write_clip(tmp_path / f"{kind.codec}{kind.suffix}", kind)
        assert turns_of_threads() == {os.SCHED_OTHER}, kind.name


def turns_of_threads() -> set[int]:
    found = set()
    for number in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # one that has ended since
            found.add(os.sched_getscheduler(int(number)))
    return found
