"""``d2m status``: how far the work in a folder of results is."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d2m_cli.commands.common import JsonOut
from d2m_cli.errors import OutputError

if TYPE_CHECKING:
    from d2m_cli.batch.status import CommandStatus

_NAMED = 3
"""Files named beside a reason."""


def status(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the results.", show_default=False)],
    json_out: JsonOut = False,
) -> None:
    """Say how far the work in a folder of results is: done, failed by reason, rate, time left.

    It can be asked at any time, and while any number of runs are at work.

    What was made with --by-folder is told folder by folder, and in sum.
    """
    import json

    from d2m_cli.batch.status import folder_status, folders_with_ledger
    from d2m_cli.ground.printable import printable

    broken = 0
    document: dict[str, Any] = {"folder": str(out), "commands": []}
    inside: list[dict[str, Any]] = []
    folders, total = Counter[str](), Counter[tuple[str, str]]()
    # One after the other: a ledger may hold hundreds of thousands.
    for folder in folders_with_ledger(out):
        try:
            found = folder_status(folder)
        except OutputError as error:
            print(f"d2m: error: {printable(str(error))}", file=sys.stderr)
            broken += 1
            continue
        if json_out:
            told = {"folder": str(folder), "commands": [one.to_json() for one in found]}
            if folder == out:
                document = told
            else:
                inside.append(told)
            continue
        for one in found:
            for line in _lines(folder, one):
                print(line, flush=True)
            folders[one.command] += 1
            total.update({(one.command, what): count for count, what in _counts(one)})
    if json_out:
        print(json.dumps({**document, "folders": inside} if inside else document, indent=2))
    for command, count in folders.items():
        if count > 1:
            counts = ((number, what) for (of, what), number in total.items() if of == command)
            print(f"{count} folders: {command or 'made'}: {_in_words(counts)}")
    if broken:
        raise typer.Exit(1)


def _counts(one: CommandStatus) -> list[tuple[int, str]]:
    counts = [(one.done, "done"), (one.failed, "failed"), (one.in_hand, "in hand"), (one.waiting, "waiting")]
    return [*counts, (one.left_behind, "begun and not finished")]


def _in_words(counts: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def _lines(out: Path, one: CommandStatus) -> list[str]:
    from d2m_cli.ground.printable import printable
    from d2m_cli.ground.progress import clock

    lines = [f"{out}: {one.command or 'made'}: {_in_words(_counts(one))}"]
    pace = [f"{one.per_minute:.3g} a minute"] if one.per_minute is not None else []
    pace += [f"about {clock(one.seconds_left)} left"] if one.seconds_left is not None else []
    if pace:
        lines.append(f"  {', '.join(pace)}")
    lines += [f"  at work: {run.who}" for run in one.runs]
    if one.runs == () and one.left_behind:
        lines.append("  nobody is at work: run the same command again to go on")
    for reason in one.reasons:
        names = ", ".join(reason.inputs[:_NAMED]) + (", ..." if len(reason.inputs) > _NAMED else "")
        lines.append(f"  {len(reason.inputs)} failed: {reason.text} ({names})")
    return [printable(line) for line in lines]
