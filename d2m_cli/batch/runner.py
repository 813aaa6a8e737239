"""Work through many files: skip what is done, name what fails, go on where the last run ended."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from d2m_cli import __version__
from d2m_cli.batch.crew import in_turn, side_by_side
from d2m_cli.batch.display import Results, close, display
from d2m_cli.batch.naming import keep_apart
from d2m_cli.batch.numbering import numbered
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.outcome import BatchSummary, ItemResult, Job, Outcome, State, Work
from d2m_cli.batch.pace import Pace
from d2m_cli.batch.pieces import in_hand
from d2m_cli.batch.report_page import ReportPage
from d2m_cli.batch.stages import Batch, targets
from d2m_cli.batch.voice import say, say_passed_over, tell
from d2m_cli.errors import OutputError, UsageError
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.event_log import Event
from d2m_cli.ground.ledger import Ledger
from d2m_cli.ground.ledger_entries import LASTING
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.ground.real_paths import RealPaths
from d2m_cli.ground.search import Found, PassedOver
from d2m_cli.ground.stores import store_at


def run_batch(
    items: Sequence[Found],
    work: Work,
    *,
    settings: Mapping[str, Any],
    own_settings: Callable[[Found], Mapping[str, Any]] | None = None,
    artefacts: Sequence[str],
    out_dir: Path,
    options: BatchOptions = PLAIN,
    passed_over: Sequence[PassedOver] = (),
    also_read: Sequence[Path | None] = (),
    label: str,
    stages: Sequence[str] = ("work",),
    workers: int = 1,
    page: ReportPage | None = None,
) -> BatchSummary:
    """Do `work` on every item that is not done yet, and say what became of each.

    A file that fails is named with its reason, and the rest go on. What stops the batch: an interrupt, a result folder
    that can't be written to (full disk), and a `UsageError` from the work (a missing model concerns every file), which
    is passed on. Results go to stdout, one line a result or one JSON document; progress goes to stderr.

    Several runs may share a folder. With the same settings they share the work, and each waits at its end for what
    others have in hand, or takes it over where they die; a run with other settings is refused the results that one at
    work has claimed. All results of a file appear together, and those of the same name that
    were made with other settings go. Files over which d2m itself died (killed, out of memory) are tried last, and are
    left out after `DEATHS` deaths in a row.

    A file that can't be used, or over which an error came that nobody foresaw, is not tried again with the same
    content, settings and version, whichever run it failed in, unless `BatchOptions.retry_failed` asks for it. What
    failed otherwise (a full disk, memory that ran out, a file that changed meanwhile) is.

    Parameters
    ----------
    items
        From `d2m_cli.ground.search`.
    work
        Makes all artefacts of one job, each with `atomic_path`.
    settings
        All options that change the result; values that JSON can hold. The version of d2m is added.
    own_settings
        What `settings` come to for one item, where that is not the same for all; an `InputError` of it costs that item
        alone.
    artefacts
        Suffixes of the files that work makes, such as ".wav"; appended to an item's stem.
    out_dir
        Folder of the results and of the ledger.
    options
        How to go through them.
    passed_over
        What the search for the items passed over, to be told.
    also_read
        Files beside the items that the work reads, which no result may replace either; None stands for none.
    label
        Name of the command.
    stages
        What the work tells its `d2m_cli.ground.progress.StageReport` of, in order; time left is measured for each.
    workers
        On so many items it works at once, each in a thread of its own. What the work shares between them has to bear
        that; what becomes of an item, and what is told of it, is the same, in the order in which they are finished.
    page
        Written over all results of the folder at the end, unless the batch is interrupted; None for none.

    Raises
    ------
    UsageError
        A result would replace an input; something that is not d2m's lies in the place of the page; or raised by work.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and not out_dir.is_dir():
        raise UsageError(f"{out_dir} is a file, not a folder for results: choose another folder with {option('out')}")
    settings = {**settings, "d2m": __version__}
    ledger = Ledger(out_dir, store_at(options.store, out_dir, options.part))
    if page is not None:
        page.check(ledger)
    common = settings_digest(label, settings)

    def settings_of(item: Found) -> str:
        if own_settings is None:
            return common
        return settings_digest(label, {**own_settings(item), "d2m": __version__})

    items = numbered(items, ledger, settings_of)
    # All are named before a share is taken: names must not hang on which share is worked on where.
    named = keep_apart(items, artefacts, ledger)
    _refuse_to_replace_inputs(named, artefacts, out_dir, also_read)
    items = _share(items, named, options)
    for odd in passed_over:
        say_passed_over(odd.path, odd.reason)
    names, drawn = tuple(artefacts), page is not None
    batch = Batch(label, items, work, common, settings_of, own_settings is not None, names, ledger, options, drawn)
    results = Results()
    begun = time.monotonic()
    outcomes: dict[int, Outcome] = {}
    interrupted, stopped, failures = False, None, options.failures_before
    guard = threading.Lock()

    def bring_to_its_end(number: int) -> None:
        nonlocal failures
        report = shown.start(number, in_hand(items[number]), str(items[number].path))
        try:
            outcome = batch.one(items[number], report)
        except OutputError as error:
            outcomes[number] = replace(batch.outcome(items[number], "failed"), error=str(error))
            raise _StopError(str(error)) from error
        with guard:
            outcomes[number] = outcome
            shown.finish(number, outcome)
            failures += outcome.state == "failed" and not outcome.failed_before
            if failures == options.max_failures:
                raise _StopError(f"stopped after {failures} failures, as {option('max_failures', failures)} asks for")

    expected = _likely_done(batch)
    found = {"command": label, "files": len(items), "likely_done": len(expected), "out": out_dir}
    tell(Event("found", "", found))
    try:
        with display(len(items), label, results, options, Pace(len(items), stages, expected)) as shown:
            together, alone = batch.order()
            at_once = 1 if options.dry_run else max(1, min(workers, len(together)))
            if options.engine == "local":  # elsewhere nobody knows who takes which
                together = tuple(in_turn(together, lambda number: items[number].path, at_once))
            side_by_side(together, bring_to_its_end, at_once)
            for number in chain(alone, batch.left_by_others(outcomes, shown)):
                bring_to_its_end(number)
    except _StopError as error:
        stopped = str(error)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        batch.end()
    written: Path | None = None
    if page is not None and not interrupted and not options.dry_run:
        try:
            written = page.write(ledger)
        except OutputError as error:
            stopped = stopped or str(error)
        except KeyboardInterrupt:
            interrupted = True
    told = tuple(outcomes.get(number, batch.outcome(item, "not tried")) for number, item in enumerate(items))
    summary = BatchSummary(
        label, out_dir, settings, told, interrupted, stopped, time.monotonic() - begun, tuple(passed_over)
    )
    close(summary, results, json_out=options.json_out)
    if summary.count("done") or summary.count("already done"):
        if written is not None:
            say(f"d2m: to see and hear it, open {written} in a browser")
        elif page is not None and interrupted:
            say(f"d2m: to see and hear what is done: d2m report {shlex.quote(str(out_dir))}")
    return replace(summary, unlisted=results.lost)


class _StopError(Exception):
    """Why the rest is not tried."""


def _share(items: Sequence[Found], named: Sequence[Found], options: BatchOptions) -> Sequence[Found]:
    """Those that are in a share by the names that they were found under."""
    shard, part = options.shard, options.part or ""
    if shard is None:
        return named
    return [name for item, name in zip(items, named, strict=True) if shard.holds(part / (item.share or item.stem))]


def _likely_done(batch: Batch) -> set[int]:
    """Numbers of the items that will cost nothing, as far as the ledger tells without a look at any file."""
    ledger, options = batch.ledger, batch.options
    if options.overwrite or not ledger.has_entries:
        return set()
    idle = {"done", "checked"} if options.retry_failed else {"done", "checked", "failed"}
    likely = set()
    for number, item in enumerate(batch.items):
        entry = ledger.entry_of(targets(item, batch.artefacts, ledger.folder))
        # Where each file has settings of its own, it may cost reading it to tell them.
        if entry is None or entry.status not in idle or (entry.settings != batch.settings and not batch.own_settings):
            continue
        if entry.status != "failed" or entry.kind in LASTING:
            likely.add(number)
    return likely


def _refuse_to_replace_inputs(
    items: Sequence[Found], artefacts: Sequence[str], out_dir: Path, also_read: Sequence[Path | None]
) -> None:
    real = RealPaths()
    inputs = {real.of(path) for path in (*(item.path for item in items), *also_read) if path is not None}
    for item in items:
        for path in targets(item, artefacts, out_dir).values():
            if real.of(path) in inputs:
                raise UsageError(
                    f"the result {path} would replace an input: choose another folder with {option('out')}"
                )


__all__ = ["BatchSummary", "ItemResult", "Job", "Outcome", "Report", "State", "Work", "run_batch"]
