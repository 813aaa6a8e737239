"""A batch on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from d2m_cli.batch.outcome import Outcome
from d2m_cli.batch.shown import Shown, line_of, result_lines, screen_lines, traceback_lines
from d2m_cli.ground.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType


class Screen(Shown):
    """A few lines at the foot of a terminal that are written anew, and above them one for each result and failure."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = Console(stderr=True)
        # Of letters that every terminal has.
        self._spinner = Spinner("line")
        # stdout is left alone: it may lead to a file, where nothing but results belongs.
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=4,
            redirect_stdout=False,
            transient=True,
        )

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def finish(self, number: int, outcome: Outcome) -> None:
        super().finish(number, outcome)
        console = self._console
        if outcome.state == "failed":
            console.print(printable(line_of(outcome)), style="red", markup=False, highlight=False)
            for line in traceback_lines(outcome) if self._options.verbose else ():
                console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        if self._options.json_out:
            return
        if sys.stdout is not None and sys.stdout.isatty():
            for line in screen_lines(outcome):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            for line in result_lines(outcome):
                self._results.line(line)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        failed = f"{self._failed} failed" if self._failed else ""
        left = self._time_left or ("estimating" if len(self._ended) < self._total else "")
        told = [self._label, self._count, failed, left]
        room = self._console.width - sum(len(text) + 1 for text in told if text) - 1
        bar = ProgressBar(self._total or 1, len(self._ended) + self._pace.share(), width=max(4, min(24, room)))
        first = Table.grid(padding=(0, 1))
        words = [Text(self._count), Text(failed, "red"), Text(left, "cyan")]
        first.add_row(Text(self._label), bar, *(text for text in words if text.plain))
        at = [*(f"loading {what}" for what in list(self._loading)), *list(self._at.values())]
        lines: list[RenderableType] = [first]
        if stages := self._stages():
            lines.append(Text(f"  {stages}", no_wrap=True, overflow="ellipsis"))
        second = Table.grid(padding=(0, 1))
        second.add_column(no_wrap=True)
        second.add_column(no_wrap=True, overflow="ellipsis")
        second.add_row(self._spinner, Text(printable("; ".join(at)), no_wrap=True, overflow="ellipsis"))
        return Group(*lines, second)
