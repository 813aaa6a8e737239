"""``d2m status``: how far the work in a folder of results is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.common import JsonOut

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
    """
    from d2m_cli.batch.status import folder_status

    found = folder_status(out)
    if json_out:
        import json

        document = {"folder": str(out), "commands": [one.to_json() for one in found]}
        print(json.dumps(document, indent=2))
        return
    for one in found:
        for line in _lines(out, one):
            print(line)


def _lines(out: Path, one: CommandStatus) -> list[str]:
    from d2m_cli.ground.printable import printable
    from d2m_cli.ground.progress import clock

    counts = [(one.done, "done"), (one.failed, "failed"), (one.in_hand, "in hand"), (one.waiting, "waiting")]
    counts += [(one.left_behind, "begun and not finished")]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    lines = [f"{out}: {one.command or 'made'}: {told}"]
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
