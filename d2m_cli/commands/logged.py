"""``--log``: what a command does, as lines of JSON in a file."""

from __future__ import annotations

import inspect
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from d2m_cli import __version__
from d2m_cli.errors import D2MError
from d2m_cli.ground.interrupts import EXIT_CODE
from d2m_cli.ground.progress import is_main_process

_Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Append what happens to this file, one JSON object a line: each stage, result, failure and remark.",
        show_default=False,
    ),
]


def with_log(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the option ``--log``: all that is told while it runs is appended to that file.

    The first line is "started", the last "ended" with the exit code. A log that is lost on the way ends a command with
    1 that would have ended with 0, as results that can't be listed do; where nobody reads it any more, it does not.

    Parameters
    ----------
    name
        What the command is called in the log.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def called(log: Path | None = None, **given: Any) -> None:
            # Of several processes of one training, one tells of it.
            with _logged(log, name) if log is not None and is_main_process() else nullcontext():
                command(**given)

        own = inspect.signature(command, eval_str=True)
        place = inspect.Parameter.POSITIONAL_OR_KEYWORD
        option = inspect.Parameter("log", place, default=None, annotation=_Log)
        called.__signature__ = own.replace(parameters=[*own.parameters.values(), option])  # type: ignore[attr-defined]
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        return called

    return decorate


@contextmanager
def _logged(path: Path, name: str) -> Iterator[None]:
    from d2m_cli.batch.voice import listening, show, tell
    from d2m_cli.ground.event_log import Event, EventLog

    log = EventLog(path, lambda text: show(f"d2m: {text}"))
    begun, code = time.monotonic(), 1
    with listening(log):
        about = {"command": name, "version": __version__, "pid": os.getpid(), "host": socket.gethostname()}
        tell(Event("started", "", {**about, "arguments": sys.argv[1:]}))
        try:
            yield
            code = 0
        except typer.Exit as ended:
            code = ended.exit_code
        except D2MError as error:
            code = error.exit_code
            tell(Event("error", str(error), {"exit_code": code}))
            raise
        except KeyboardInterrupt:
            code = EXIT_CODE
            tell(Event("error", "interrupted", {"exit_code": code}))
            raise
        except Exception as error:
            tell(Event("error", f"{type(error).__name__}: {error}", {"exit_code": code}))
            raise
        finally:
            tell(Event("ended", "", {"exit_code": code, "seconds": round(time.monotonic() - begun, 3)}))
            log.close()
    raise typer.Exit(code or int(log.lost is not None))
