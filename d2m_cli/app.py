"""The ``d2m`` command: its subcommands, and what becomes of errors.

Nothing heavy is imported here or at the top of a command's module: ``d2m --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from d2m_cli import __version__
from d2m_cli.commands.cache import app as cache
from d2m_cli.commands.demo import demo
from d2m_cli.commands.doctor import doctor
from d2m_cli.commands.eval import evaluate
from d2m_cli.commands.generate import generate
from d2m_cli.commands.listening_test import app as listening_test
from d2m_cli.commands.pose import pose
from d2m_cli.commands.report import report
from d2m_cli.commands.rhythm import rhythm
from d2m_cli.commands.status import status
from d2m_cli.commands.train import train
from d2m_cli.commands.variables import with_variables
from d2m_cli.commands.weights import app as weights
from d2m_cli.errors import D2MError
from d2m_cli.ground.interrupts import EXIT_CODE, Interruptible
from d2m_cli.ground.options import tell_flags
from d2m_cli.ground.printable import printable
from d2m_cli.ground.stdout import guard_stderr, guard_stdout
from d2m_cli.ground.surroundings import check_folders


class _Group(TyperGroup):
    """Turns the errors of `d2m_cli.errors`, and a lack of memory, into one line on stderr and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _untype_flags(self, ctx)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def invoke(self, ctx: Any) -> Any:
        tell_flags()
        try:
            with Interruptible():
                check_folders()
                return super().invoke(ctx)
        except D2MError as error:
            _tell(ctx, str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("d2m: interrupted", file=sys.stderr)
            raise typer.Exit(EXIT_CODE) from None
        except Exception as error:
            told = _shortage(error)
            if told is None:
                raise
            _tell(ctx, told)
            raise typer.Exit(D2MError.exit_code) from None


def _tell(context: Any, text: str) -> None:
    """Print the error that is being handled."""
    if context.params.get("verbose"):
        traceback.print_exc()
    # Some errors list their causes, one a line.
    told = "\n".join(printable(line) for line in text.split("\n"))
    print(f"d2m: error: {told}", file=sys.stderr)


def _shortage(error: Exception) -> str | None:
    """What to say of an error that came of memory that ran out; None of any other."""
    from d2m_cli.batch.failures import described
    from d2m_cli.media.shortage import is_shortage

    # Typer's own errors bring an exit code, and may hold any words of the user's.
    if hasattr(error, "exit_code") or not is_shortage(error):
        return None
    what = described(error).partition("\n")[0]
    return (
        f"memory ran out ({what}): close other programs, take a smaller model or, where it is a GPU's memory, "
        "say --device cpu"
    )


def _untype_flags(command: Any, context: Any) -> None:
    """Have the help of a command, and of those below it, show flags without a type: "<bool>" reads like a value."""
    for option in [*command.params, command.get_help_option(context)]:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        _untype_flags(inner, context)


app = typer.Typer(
    cls=_Group,
    name="d2m",
    help="Music that moves with the dancers: dance videos in, music in time with them out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"d2m {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show where an error came from.")] = False,
) -> None:
    pass


_SHARED = frozenset({"--backbone", "--cache", "--decoder", "--device", "--no-cache"})
"""Flags that mean the same for all commands; others, such as --out, mean another thing for each."""

_MUSIC = "Music for videos"
_DANCE = "What a dance does"
_RESEARCH = "Learning and measuring"
_KEPT = "What is kept on this machine"

app.command("generate", cls=with_variables(), rich_help_panel=_MUSIC)(generate)
app.command("demo", rich_help_panel=_MUSIC)(demo)
app.command("doctor", rich_help_panel=_MUSIC)(doctor)
app.command("report", rich_help_panel=_MUSIC)(report)
app.command("status", rich_help_panel=_MUSIC)(status)
app.command("pose", cls=with_variables(), rich_help_panel=_DANCE)(pose)
app.command("rhythm", cls=with_variables(), rich_help_panel=_DANCE)(rhythm)
app.command("train", cls=with_variables(_SHARED - {"--cache", "--no-cache"}), rich_help_panel=_RESEARCH)(train)
app.command("eval", cls=with_variables(_SHARED), rich_help_panel=_RESEARCH)(evaluate)
app.add_typer(listening_test, name="listening-test", rich_help_panel=_RESEARCH)
app.add_typer(weights, name="weights", rich_help_panel=_KEPT)
app.add_typer(
    cache,
    name="cache",
    short_help="Poses and rhythms of videos, kept so that other music for the same dances costs music alone.",
    rich_help_panel=_KEPT,
)


def main() -> None:
    """Run the command line; `d2m_cli.entry` calls this once signals and streams are set up."""
    guard_stderr()
    stdout = guard_stdout()
    try:
        app(prog_name="d2m")
    except SystemExit as ended:
        if stdout is None or not isinstance(ended.code, int | None):
            raise
        sys.exit(stdout.settled(ended.code or 0))


if __name__ == "__main__":
    main()
