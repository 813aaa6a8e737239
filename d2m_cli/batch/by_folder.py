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
from d2m_cli.batch.voice import say, say_passed_over
from d2m_cli.errors import NothingFoundError, UsageError
from d2m_cli.ground.folders import folders_in
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.options import option

COLLECTED = 5000
"""Files after which memory is cleared: seldom enough for folders of a few files."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one run goes through.

    Attributes
    ----------
    name
        Of its folder in the collection, and in the results; "" for the files that lie in none.
    inputs
        What is searched for it.
    """

    name: str
    inputs: tuple[Input, ...]


Run = Callable[[Sequence[Input], Path, BatchOptions], BatchSummary]
"""Searches inputs and works through what it finds, into a folder."""


def run_by_folder(inputs: Sequence[Input], out: Path, options: BatchOptions, run: Run) -> int:
    """Run once for each folder in the given ones, with a ledger of its own; files that lie in none come first.

    A run holds the names of its own files alone, and results have the paths that they would have in a single run, but
    where names fall together. A folder without anything to work on is passed over, and so is a link to one that has a
    run of its own. An interrupt, or what stops one run (a full disk), ends the rest.

    Parameters
    ----------
    inputs
        Folders.
    out
        Folder of the results; each run's is the one in it that is called as the run's own.
    options
        Of all: `max_failures` counts through all runs.
    run
        Searches inputs and works through what it finds.

    Returns
    -------
    int
        The exit code: 0 all done, 1 some failed, 130 interrupted.

    Raises
    ------
    UsageError
        An input is no folder; two have a folder of one name; a file lies where results of a folder belong; there is
        nothing to work on in any; one JSON document is asked for; or raised by a run.
    """
    if options.json_out:
        raise UsageError(
            f"{option('json', True)} writes one document of a run, and {option('by_folder', True)} makes many runs: "
            f"take {option('log')} for what happens, or 'd2m status --json' for what became of it"
        )
    parts = _parts(inputs, out)
    totals, held, number, folders = _Totals(), 0, 0, sum(bool(part.name) for part in parts)
    try:
        for part in parts:
            if part.name:
                number += 1
                source = part.inputs[0].path
                say(f"d2m: folder {number} of {folders}: {source}", "folder", folder=source)
            own = replace(options, part=part.name, failures_before=totals.new_failures)
            try:
                summary = run(part.inputs, out / part.name, own)
            except NothingFoundError as error:
                for odd in error.passed_over:
                    say_passed_over(odd.path, odd.reason)
                if part.name:
                    say(f"d2m: passed over: {error}", "passed over", file=part.inputs[0].path, reason=str(error))
                continue
            totals.add(summary)
            if summary.interrupted or summary.stopped is not None:
                break
            held += len(summary.outcomes)
            del summary
            if held >= COLLECTED:
                # What runs leave behind refers to itself in circles, and may outlast several of them.
                gc.collect()
                held = 0
    finally:
        totals.tell(folders - number)
    if not totals.runs:
        raise UsageError(f"no folder in {_named(inputs)} holds anything to work on")
    return totals.code


class _Totals:
    """What became of all runs."""

    def __init__(self) -> None:
        self.runs, self.code, self.new_failures = 0, 0, 0
        self._label = ""
        self._states: Counter[str] = Counter()

    def add(self, summary: BatchSummary) -> None:
        self.runs += 1
        self.code, self._label = max(self.code, summary.exit_code), summary.label
        self.new_failures += summary.count("failed") - summary.failed_before
        for state in get_args(State):
            self._states[state] += summary.count(state)

    def tell(self, not_begun: int) -> None:
        """Say it, where there was a run at all; and how many folders had none, as the work was ended before."""
        if not self.runs:
            return
        counts = ", ".join(f"{count} {state}" for state, count in self._states.items() if count) or "no files"
        left = f"; folders that were not begun: {not_begun}" if not_begun else ""
        fields = {state.replace(" ", "_"): count for state, count in self._states.items()}
        runs = f"{self.runs} {'run' if self.runs == 1 else 'runs'}"
        say(f"d2m {self._label}: {runs}: {counts}{left}", "all runs", **fields, folders_not_begun=not_begun)


def _parts(inputs: Sequence[Input], out: Path) -> list[Part]:
    if not inputs:
        raise UsageError("no input: name at least one folder")
    found: dict[str, Path] = {}
    loose: list[Path] = []
    # Real paths: a folder has its turn once, under whichever name it comes first.
    seen: set[Path] = set()
    for one in inputs:
        _check_folder(one)
        real = one.path.resolve()
        if real in seen:
            continue
        seen.add(real)
        loose.append(one.path)
        try:
            inside = folders_in(one.path)
        except OSError as error:
            raise UsageError(f"can't look into the folder {one.path}: {error.strerror}") from error
        for folder in inside:
            there = folder.resolve()
            if there in seen or there in real.parents:
                if folder.is_symlink():
                    say_passed_over(folder, f"is {there}")
                continue
            seen.add(there)
            other = found.setdefault(folder.name, folder)
            if other != folder:
                raise UsageError(
                    f"the results of {other} and {folder} would lie in one folder: go through {other.parent} and "
                    f"{folder.parent} one after the other, each with an {option('out')} of its own"
                )
    for path in loose:
        # Of several, files are called after their folder where names fall together.
        if len(loose) > 1 and path.resolve().name in found:
            raise UsageError(
                f"{path} and {found[path.resolve().name]} have one name: go through {_named(inputs)} one after the "
                f"other, each with an {option('out')} of its own"
            )
    for name in found:
        if (out / name).exists() and not (out / name).is_dir():
            raise UsageError(f"{out / name} is a file, and results of {found[name]} belong there: move it away")
    barred = frozenset(seen)
    parts = [Part(name, (Input(folder, barred=barred),)) for name, folder in found.items()]
    return [Part("", tuple(Input(path, is_flat=True) for path in loose)), *parts]


def _check_folder(one: Input) -> None:
    where = f"{one.where}: " if one.where else ""
    if one.is_pattern:
        raise UsageError(f"{option('by_folder', True)} goes through folders, and {one.path} is a pattern: name folders")
    if not os.path.lexists(one.path):
        raise UsageError(f"{where}{one.path}: no such folder; check the spelling")
    if not one.path.is_dir():
        raise UsageError(f"{where}{option('by_folder', True)} goes through folders, and {one.path} is none")


def _named(inputs: Sequence[Input]) -> str:
    return ", ".join(str(one.path) for one in inputs)
