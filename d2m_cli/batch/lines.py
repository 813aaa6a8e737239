"""A batch in plain lines, for what is no terminal."""

from __future__ import annotations

import threading
import time
from typing import Any

from d2m_cli.batch.outcome import Outcome
from d2m_cli.batch.shown import Shown, line_of, result_lines, traceback_lines
from d2m_cli.batch.voice import show

SILENCE_SECONDS = 60.0
"""Off a terminal, the longest time without a word."""


class Lines(Shown):
    """Lines for a log file: one when a file is finished, and one a minute while a file takes longer."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._spoke = time.monotonic()
        self._over = threading.Event()
        self._reminder = threading.Thread(target=self._remind, daemon=True)

    def __enter__(self) -> Lines:
        self._reminder.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        # What it is about to say is said before the end is told.
        self._reminder.join()

    def finish(self, number: int, outcome: Outcome) -> None:
        super().finish(number, outcome)
        if not self._options.json_out:
            for line in result_lines(outcome):
                self._results.line(line)
        if self._options.dry_run:
            return
        self._say(f"[{self._count}] {line_of(outcome)}{self._so_far()}")
        for line in traceback_lines(outcome) if self._options.verbose else ():
            self._say(line)

    def _so_far(self) -> str:
        failed = f"{self._failed} failed so far" if self._failed else ""
        told = ", ".join(filter(None, [failed, self._time_left]))
        return f"; {told}" if told else ""

    def _say(self, line: str) -> None:
        show(line)
        self._spoke = time.monotonic()

    def _remind(self) -> None:
        while not self._over.wait(max(0.01, self._spoke + SILENCE_SECONDS - time.monotonic())):
            if time.monotonic() - self._spoke >= SILENCE_SECONDS and not self._options.dry_run:
                self._say(self._now())

    def _now(self) -> str:
        at = [*list(self._at.values()), *(f"loading {what}" for what in list(self._loading))]
        now = f"still at {'; '.join(at)}" if at else "still at work"
        stages = f" ({self._stages()})" if self._stages() else ""
        return f"[{self._count}] {now}{stages}{self._so_far()}"
