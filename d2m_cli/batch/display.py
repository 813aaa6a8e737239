"""What the user sees of a batch: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from d2m_cli.batch.lines import Lines
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, Outcome
from d2m_cli.batch.pace import Pace
from d2m_cli.batch.screen import Screen
from d2m_cli.batch.shown import Results, Shown
from d2m_cli.batch.voice import listening, say, show
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import StageReport, clock, is_terminal

__all__ = ["Display", "Results", "close", "display"]


class Display(Protocol):
    """Shows where a batch is. Several files may be in hand at once."""

    def start(self, number: int, name: str, file: str = "") -> StageReport:
        """Work on the file of this number, from 0, begins; what is returned is told where that is."""
        ...

    def finish(self, number: int, outcome: Outcome) -> None:
        """It came to this; to be called by one thread at a time."""
        ...


@contextmanager
def display(
    total: int, label: str, results: Results, options: BatchOptions, pace: Pace | None = None
) -> Iterator[Display]:
    """The display for stderr as it is.

    Parameters
    ----------
    total
        How many files there are.
    label
        The command.
    results
        Where results are listed.
    options
        A dry run says nothing of progress; with `json_out` results are not listed one by one.
    pace
        Measures how fast they go through their stages; None for files of one stage.
    """
    shown: Shown
    pace = pace or Pace(total, ("work",))
    if options.dry_run or not is_terminal():
        shown = Lines(total, label, results, options, pace)
    else:
        shown = Screen(total, label, results, options, pace)
    with listening(shown.hear), shown:
        yield shown


def close(summary: BatchSummary, results: Results, *, json_out: bool) -> None:
    """Say how the batch ended."""
    if json_out:
        results.line(json.dumps(summary.to_json(), indent=2, default=str))
    counts = [
        f"{summary.count(state)} {state}"
        for state in ("done", "already done", "being made", "planned", "failed", "not tried")
        if summary.count(state)
    ]
    if summary.passed_over:
        counts.append(f"{len(summary.passed_over)} passed over")
    say(
        f"d2m {summary.label}: {', '.join(counts) or 'no files'} in {clock(summary.seconds)}",
        "summary",
        **summary.counts(),
    )
    for outcome in summary.outcomes:
        if outcome.state == "failed" and outcome.error != summary.stopped:
            show(f"  failed: {outcome.name}: {outcome.cause}")
        elif outcome.state == "being made":
            show(f"  being made by another run: {outcome.name}")
    if summary.failed_before:
        say(
            f"d2m: {summary.failed_before} of the failed were not tried again: they would fail as before; "
            f"{option('retry_failed', True)} tries them"
        )
    if summary.stopped is not None:
        say(f"d2m: error: {summary.stopped}", "error")
    if summary.interrupted:
        say(f"interrupted; run the same command again to go on ({LEDGER_NAME} knows what is done)")
