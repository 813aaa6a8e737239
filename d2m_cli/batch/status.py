"""How far the work in a folder of results is, from its ledger and the runs that are at work there."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from d2m_cli.batch.outcome import cause
from d2m_cli.batch.report_page import PAGE_COMMAND
from d2m_cli.batch.runs import OtherRun, at_work, is_alive
from d2m_cli.errors import UsageError
from d2m_cli.ground.folders import folders_in
from d2m_cli.ground.ledger import LEDGER_NAME, Entry, Ledger
from d2m_cli.ground.ledger_entries import LASTING

WINDOW = 3600.0
"""Seconds back over which a rate is measured."""


@dataclass(frozen=True)
class Reason:
    """Why files failed.

    Attributes
    ----------
    text
        In words, as it was said of the first of them; others may differ in their numbers.
    kind
        See `d2m_cli.ground.ledger_entries.Kind`; "" where an older version failed.
    inputs
        The files, as they were named.
    """

    text: str
    kind: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class AtWork:
    """A run that is at work.

    Attributes
    ----------
    who
        Its process and machine, in words.
    begun
        When it began to work on files, in seconds since 1970; 0 where its version does not say.
    """

    who: str
    begun: float


@dataclass(frozen=True)
class CommandStatus:
    """How far one command is. Each file is counted once.

    Attributes
    ----------
    command
        The command.
    done, failed
        Files that are finished.
    in_hand
        Files that runs are making now.
    waiting
        Files that runs at work have claimed and not begun.
    left_behind
        Files that were begun and not finished, and that no run at work has claimed: what was killed or interrupted.
    per_minute
        Files that were finished a minute, over the last hour of work at most; None where none was, or nobody knows.
    seconds_left
        How long the runs at work still take at that rate; None where none is at work, or there is no rate.
    reasons
        Why files failed, the most frequent reason first.
    runs
        Who is at work.
    """

    command: str
    done: int
    failed: int
    in_hand: int
    waiting: int
    left_behind: int
    per_minute: float | None
    seconds_left: float | None
    reasons: tuple[Reason, ...]
    runs: tuple[AtWork, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON can hold."""
        values = asdict(self)
        values["failed_by_reason"] = [{**asdict(one), "count": len(one.inputs)} for one in self.reasons]
        del values["reasons"]
        return values


def folders_with_ledger(out: Path) -> tuple[Path, ...]:
    """A folder of results, and those folders in it that have results of their own, as `run_by_folder` makes them.

    Raises
    ------
    UsageError
        None has a ledger.
    """
    inside: list[Path] = []
    with suppress(OSError):  # the folder itself may be closed to all but those who know its names
        inside = folders_in(out)
    found = tuple(folder for folder in (out, *inside) if has_ledger(folder))
    if not found:
        raise UsageError(f"{out} holds no {LEDGER_NAME}: name a folder that d2m wrote results to")
    return found


def has_ledger(folder: Path) -> bool:
    """Whether d2m wrote results to a folder; not where that can't be told."""
    return os.path.exists(folder / LEDGER_NAME)


Key = tuple[str, str]
"""Command, and path of the results without a suffix."""


def folder_status(folder: Path) -> tuple[CommandStatus, ...]:
    """How far each command is in a folder of results; nothing is written, and no file but the ledger is read.

    Of a folder without a ledger nothing is told.

    Raises
    ------
    OutputError
        The ledger can't be read.
    """
    ledger = Ledger(folder)
    runs = at_work(ledger)
    latest: dict[Key, Entry] = {}
    for entry in ledger.owned().values():
        if entry.command == PAGE_COMMAND:
            continue  # a page about the results, and no result
        key = _key(entry)
        if key not in latest or entry.at > latest[key].at:
            latest[key] = entry
    states = {key: _state(ledger, entry) for key, entry in latest.items()}
    for run in runs:
        for key in _waiting(ledger, run):
            if states.get(key) != "in_hand":
                states[key] = "waiting"
    commands = sorted({command for command, _ in states})
    return tuple(
        _status(command, states, latest, [run for run in runs if run.command == command]) for command in commands
    )


def _key(entry: Entry) -> Key:
    return entry.command, entry.stem or entry.input


def _state(ledger: Ledger, entry: Entry) -> str:
    if entry.made:
        return "done"
    if entry.status == "failed":
        return "failed"
    in_hand = ledger.is_in_hand(entry) and is_alive(ledger, entry.run)
    return "in_hand" if in_hand else "left_behind"


def _waiting(ledger: Ledger, run: OtherRun) -> set[Key]:
    """What a run has claimed and has not come to yet, or will take up again."""
    suffixes = sorted(run.artefacts, key=len, reverse=True)
    waiting: set[Key] = set()
    for result in run.results:
        entry = ledger.owner(result)
        if entry is None or not _is_through(entry, run):
            suffix = next((one for one in suffixes if result.endswith(one)), "")
            waiting.add((run.command, result.removesuffix(suffix)))
    return waiting


def _is_through(entry: Entry, run: OtherRun) -> bool:
    """Whether there is nothing left to do for a run where this is the latest of a result."""
    other = entry.settings != run.settings and not run.own_settings
    if other or not (entry.made or entry.status == "failed"):
        return False
    tried_again = entry.status == "failed" and entry.kind not in LASTING
    return entry.at >= run.begun or not (tried_again or entry.status in run.again)


def _status(command: str, states: dict[Key, str], latest: dict[Key, Entry], runs: list[OtherRun]) -> CommandStatus:
    of_command = {key: state for key, state in states.items() if key[0] == command}
    counts = {name: 0 for name in ("done", "failed", "in_hand", "waiting", "left_behind")}
    for state in of_command.values():
        counts[state] += 1
    finished = [latest[key] for key, state in of_command.items() if state in ("done", "failed")]
    rate = _rate([entry for entry in finished if entry.status != "checked"], runs)
    to_come = counts["in_hand"] + counts["waiting"]
    return CommandStatus(
        command,
        **counts,
        per_minute=None if rate is None else 60.0 * rate,
        seconds_left=to_come / rate if rate is not None and runs else None,
        reasons=_reasons(entry for entry in finished if entry.status == "failed"),
        runs=tuple(AtWork(run.who, run.begun) for run in runs),
    )


def _rate(finished: list[Entry], runs: list[OtherRun]) -> float | None:
    """Files a second: of the runs at work since the first of them began, else of the last hour that anyone worked."""
    dated = [entry for entry in finished if entry.at > 0]
    if not dated:
        return None
    if runs:
        end, start = time.time(), min(run.begun for run in runs)
    else:
        end = max(entry.at for entry in dated)
        start = min(entry.at - entry.seconds for entry in dated if entry.at >= end - WINDOW)
    start = max(start, end - WINDOW)
    count = sum(entry.at >= start for entry in dated)
    return count / (end - start) if count and end > start else None


def _reasons(failed: Iterable[Entry]) -> tuple[Reason, ...]:
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in failed:
        # What differs in its numbers alone ("ends after 3.2 s") is one reason.
        text = re.sub(r"\d+([.,]\d+)*", "#", cause(entry.input, entry.error or ""))
        groups[entry.kind, text].append(entry)
    found = [
        Reason(cause(group[0].input, group[0].error or ""), kind, tuple(entry.input for entry in group))
        for (kind, _), group in groups.items()
    ]
    return tuple(sorted(found, key=lambda reason: (-len(reason.inputs), reason.text)))
