"""Checks in a process of their own: libraries that crash or hang there are a finding, and not the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from d2m_cli.doctor.check import Check
from d2m_cli.ground.options import tell_flags

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from d2m_cli.doctor.apart import serve; serve(sys.argv[2], json.loads(sys.argv[3]))"
)
_LAST_WORDS = 300
"""Letters of what a process that died had printed last."""


def look_apart(module: str, group: str, seconds: float, remedy: str, *given: Any) -> Iterator[Check]:
    """What ``look(*given)`` of a module finds, looked for in a new process.

    Parameters
    ----------
    module
        Its name; ``look`` there yields what is checked next, as text, and checks.
    group
        Of the check that stands for a process that crashed or hung.
    seconds
        How long it may take.
    remedy
        What may mend a crash.
    given
        Values that JSON can hold.
    """
    code, lines, words = _run(module, given, seconds)
    at = "start"
    over = False
    for line in lines:
        message = json.loads(line)
        if "check" in message:
            yield Check(**message["check"])
        at, over = message.get("at", at), over or "over" in message
    if code is None:
        yield Check(group, at, "bad", f"hangs: nothing came of it in {seconds:.0f} s", remedy, {"seconds": seconds})
    elif code or not over:
        last = " ".join(words.split())[-_LAST_WORDS:]
        told = f"crashes ({_ending(code)})" + (f": {last}" if last else "")
        yield Check(group, at, "bad", told, remedy, {"exit_code": code})


def serve(module: str, given: Sequence[Any]) -> None:
    """Make the checks of a module, one line of JSON each on stdout; runs in the process that `look_apart` starts."""
    # What libraries print, also from C, is not to come between.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    tell_flags()

    def write(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    for one in import_module(module).look(*given):
        write({"at": one} if isinstance(one, str) else {"check": one.to_json()})
    write({"over": True})


def _run(module: str, given: Sequence[Any], seconds: float) -> tuple[int | None, list[str], str]:
    """Exit code (None of one that took too long), whole lines of stdout, and stderr."""
    places = [place for place in sys.path if isinstance(place, str)]
    process = subprocess.Popen(
        # -P: nothing is imported from the folder one stands in before the parent's own places are set.
        [sys.executable, "-P", "-c", _START, json.dumps(places), module, json.dumps(given)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        # An interrupt from the keyboard is this process's to handle.
        start_new_session=True,
    )
    try:
        out, words = process.communicate(timeout=seconds)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        out, words = process.communicate()
        code = None
    except BaseException:
        _end(process)
        raise
    whole, _, _ = out.rpartition("\n")
    return code, whole.split("\n") if whole else [], words


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it, and what it has started."""
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
