"""A collection folder by folder, so that no step holds the names of all its files."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, State
from d2m_cli.batch.voice import say
from d2m_cli.errors import NothingFoundError, UsageError
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.options import option
from d2m_cli.ground.search import name_key

COLLECTED = 5000
"""Files after which memory is cleared: seldom enough for folders of a few files."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one run goes through.

    Attributes
    ----------
    name
        Of its folder in the collection, and in the results; "" for the files that lie in none.
    input
        What is searched for it.
    """

    name: str
    input: Input


Run = Callable[[Sequence[Input], Path, BatchOptions], BatchSummary]
"""Searches inputs and works through what it finds, into a folder."""


def run_by_folder(inputs: Sequence[Input], out: Path, options: BatchOptions, run: Run) -> int:
    """Run once for each folder in the given ones, with a ledger of its own; files that lie in none come first.

    A run holds the names of its own files alone, and results have the paths that they would have in a single run, but
    where names fall together. A folder without anything to work on is passed over. An interrupt, or what stops one run
    (a full disk), ends the rest.

    Parameters
    ----------
    inputs
        Folders.
    out
        Folder of the results; each run's is the one in it that is called as the run's own.
    options
        Of all: `max_failures` counts through all runs, and the results of each go to a folder of its own in a store.
    run
        Searches inputs and works through what it finds.

    Returns
    -------
    int
        The exit code: 0 all done, 1 some failed, 130 interrupted.

    Raises
    ------
    UsageError
        An input is no folder; two have a folder of one name; there is nothing to work on in any; or raised by a run.
    """
    parts, tried, code, kept = _parts(inputs), 0, 0, 0
    total: Counter[str] = Counter()
    label = ""
    folders, number = sum(bool(part.name) for part in parts), 0
    for part in parts:
        if part.name:
            number += 1
            say(f"d2m: folder {number} of {folders}: {part.input.path}", "folder", folder=part.input.path)
        left = options.max_failures
        if left is not None:
            left -= total["new failures"]
        store = f"{options.store.rstrip('/')}/{part.name}".rstrip("/") if options.store is not None else None
        try:
            summary = run([part.input], out / part.name, replace(options, max_failures=left, store=store))
        except NothingFoundError as error:
            if part.name:
                say(f"d2m: passed over: {error}", "passed over", file=part.input.path, reason=str(error))
            continue
        tried += 1
        code, label = max(code, summary.exit_code), summary.label
        for state in get_args(State):
            total[state] += summary.count(state)
        total["new failures"] += summary.count("failed") - summary.failed_before
        if summary.interrupted or summary.stopped is not None:
            break
        kept += len(summary.outcomes)
        del summary
        if kept >= COLLECTED:
            # What runs leave behind refers to itself in circles, and may outlast several of them.
            gc.collect()
            kept = 0
    if not tried:
        raise UsageError(f"no folder in {', '.join(str(one.path) for one in inputs)} holds anything to work on")
    counts = ", ".join(f"{total[state]} {state}" for state in get_args(State) if total[state])
    fields = {name.replace(" ", "_"): count for name, count in total.items()}
    say(f"d2m {label}: {tried} {'folder' if tried == 1 else 'folders'}: {counts}", "all folders", **fields)
    return code


def _parts(inputs: Sequence[Input]) -> list[Part]:
    if not inputs:
        raise UsageError("no input: name at least one folder")
    loose: list[Part] = []
    parts: dict[str, Part] = {}
    for one in inputs:
        if not one.path.is_dir():
            raise UsageError(f"{option('by_folder', True)} goes through folders, and {one.path} is none")
        above = one.path.resolve()
        seen = {above, *above.parents}
        loose.append(Part("", replace(one, is_flat=True)))
        for folder in _inside(one.path):
            real = folder.resolve()
            if real in seen:
                # A link to a folder above it, or to one that has its turn already.
                say(f"d2m: passed over: {folder} is {real}", "passed over", file=folder, reason=f"is {real}")
                continue
            seen.add(real)
            other = parts.setdefault(name_key(folder.name), Part(folder.name, Input(folder)))
            if other.input.path != folder:
                raise UsageError(
                    f"the results of {other.input.path} and {folder} would lie in one folder: name one of the two, and "
                    f"the other in a run of its own with another {option('out')}"
                )
    return [*loose, *parts.values()]


def _inside(folder: Path) -> list[Path]:
    """The folders in a folder, in sorted order, but for hidden ones."""
    try:
        with os.scandir(folder) as found:
            names = sorted(one.name for one in found if not one.name.startswith(".") and one.is_dir())
    except OSError as error:
        raise UsageError(f"can't look into the folder {folder}: {error.strerror}") from error
    return [folder / name for name in names]
