"""``d2m doctor``: whether this machine can make music, and what mends it where it can't."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.common import JsonOut
from d2m_cli.ground.printable import printable

if TYPE_CHECKING:
    from d2m_cli.doctor.check import Check
    from d2m_cli.doctor.examine import Findings

_WIDTH = 80
"""Columns of the text, wherever it is read: it is made to be pasted."""
_MARKS = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}
_INDENT = 8 * " "


def doctor(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results: whether it can be written, and its room.")
    ] = Path("d2m_out"),
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the self-test, which takes longest.")] = False,
    json_out: JsonOut = False,
) -> None:
    """Say whether this machine can make music, and what mends it where it can't.

    Ends with 0 if all that 'd2m generate' needs works, else with 1.

    Paste the text into reports of bugs: it names neither you nor your machine.
    """
    import json

    from d2m_cli.batch.voice import say
    from d2m_cli.commands.variables import variables_of
    from d2m_cli.doctor.examine import Findings, examine

    say(f"d2m doctor: looking at this machine{'' if quick else '; the self-test at the end may take a minute'}")
    checks: list[Check] = []
    for check in examine(str(out), quick=quick, variables=variables_of(context.find_root().command)):
        if not json_out:
            if not checks or checks[-1].group != check.group:
                print(f"{printable(check.group)}:", flush=True)
            for line in _lines(check):
                print(line, flush=True)
        checks.append(check)
    found = Findings(tuple(checks), quick)
    if json_out:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print("\n".join(_end(found)))
    raise typer.Exit(0 if found.usable else 1)


def _lines(check: Check) -> list[str]:
    return _wrapped(f"{_MARKS[check.state]}  {check.name}: {check.text}", "  ", _INDENT)


def _end(found: Findings) -> list[str]:
    """What to do next."""
    if not found.steps:
        return ["", "all well; try: d2m demo"]
    lines = ["", "what to do next:"]
    for number, step in enumerate(found.steps, 1):
        lines += _wrapped(f"{number}. {step.problem}:", "  ", "     ")
        # Not broken into lines: it is there to be copied.
        lines.append(f"     {printable(step.remedy)}")
    if found.usable:
        lines += ["", "music can be made as it is; try: d2m demo"]
    return lines


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
