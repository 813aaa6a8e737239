from __future__ import annotations

import time
from functools import partial
from types import SimpleNamespace

import pytest

from d2m_cli.ground import progress as module
from d2m_cli.ground.event_log import Event
from d2m_cli.ground.progress import Progress, Steps, clock
from tests.waiting import wait_until


def test_the_time_left_is_that_of_the_steps_after_the_first() -> None:
    now = 0.0
    steps = Steps(110, done=100, now=lambda: now)
    now = 50.0
    steps.advance(1)
    # What is behind took no time of ours, and the first step loads and compiles.
    assert steps.left() is None
    now = 60.0
    steps.advance(4)
    # 2.5 s a step, and five to come.
    assert steps.left() == pytest.approx(12.5)
    now = 61.0
    assert steps.left() == pytest.approx(11.5)
    now = 100.0
    assert steps.left() == pytest.approx(10.0)
    steps.advance(5)
    assert steps.left() == 0.0


def test_lines_off_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = 0.0, []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(module, "Steps", partial(Steps, now=lambda: now))

    def come(count: int) -> bool:
        lines.extend(capsys.readouterr().err.splitlines())
        return len(lines) >= count

    told: list[Event] = []
    progress = Progress(every=0.1, tell=told.append)
    with progress.stage("scoring", 4) as advance:
        advance(1, "a")
        now = 0.12
        advance(1, "b")
        # Nothing is done for long, and that is said too, by a thread that looks at the clock.
        now = 0.31
        time.sleep(0.3)
        assert come(1)
        now = 0.33
        wait_until(lambda: come(2))
        now = 0.47
        advance(2, "d")
    progress.say("all\x1b heard")
    with progress.busy("floors"):
        now = 1.97
        wait_until(lambda: come(5))
    now = 10.0
    time.sleep(0.3)
    come(5)
    assert lines == [
        *["scoring: 2 of 4, b, nearly done"] * 2, "scoring: 4 of 4, d", "all\\x1b heard", "floors: at it for 2 s"
    ]  # fmt: skip
    assert [(one.name, one.text, one.fields.get("stage")) for one in told] == [
        ("stage", "", "scoring"),
        ("note", "all\x1b heard", None),
        ("stage", "", "floors"),
    ]
    assert told[0].fields["items"] == 4
    assert [one.fields.get("seconds") for one in told] == [0.47, None, 1.5]


def test_a_quiet_one_says_and_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Event] = []
    progress = Progress(quiet=True, every=0.0, tell=told.append)
    with progress.stage("scoring", 1) as advance, progress.busy("floors"):
        advance()
        progress.say("heard")
    assert (capsys.readouterr().err, told) == ("", [])


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (3725.0, "1:02:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
