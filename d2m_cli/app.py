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
from d2m_cli.commands.eval import evaluate
from d2m_cli.commands.generate import generate
from d2m_cli.commands.listening_test import app as listening_test
from d2m_cli.commands.pose import pose
from d2m_cli.commands.rhythm import rhythm
from d2m_cli.commands.status import status
from d2m_cli.commands.train import train
from d2m_cli.commands.variables import with_variables
from d2m_cli.commands.weights import app as weights
from d2m_cli.errors import D2MError
from d2m_cli.ground.interrupts import EXIT_CODE, Interruptible
from d2m_cli.ground.options import tell_flags
from d2m_cli.ground.printable import printable
from d2m_cli.ground.stdout import guard_stdout
from d2m_cli.ground.surroundings import check_folders


class _Group(TyperGroup):
    """Turns the errors of `d2m_cli.errors` into one line on stderr and their exit code."""

    def invoke(self, ctx: Any) -> Any:
        tell_flags()
        try:
            with Interruptible():
                check_folders()
                return super().invoke(ctx)
        except D2MError as error:
            if ctx.params.get("verbose"):
                traceback.print_exc()
            # Some errors list their causes, one a line.
            told = "\n".join(printable(line) for line in str(error).split("\n"))
            print(f"d2m: error: {told}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("d2m: interrupted", file=sys.stderr)
            raise typer.Exit(EXIT_CODE) from None


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

app.command("pose", cls=with_variables())(pose)
app.command("rhythm", cls=with_variables())(rhythm)
app.command("train", cls=with_variables(_SHARED - {"--cache", "--no-cache"}))(train)
app.command("generate", cls=with_variables())(generate)
app.command("eval", cls=with_variables(_SHARED))(evaluate)
app.add_typer(listening_test, name="listening-test")
app.add_typer(weights, name="weights")
app.command("status")(status)
app.add_typer(cache, name="cache")


def main() -> None:
    """Run the command line; `d2m_cli.entry` calls this once signals and streams are set up."""
    # File names may hold bytes that are no text; printing one must not end a batch.
    reconfigure = getattr(sys.stderr, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    stdout = guard_stdout()
    try:
        app(prog_name="d2m")
    except SystemExit as ended:
        if stdout is None or not isinstance(ended.code, int | None):
            raise
        sys.exit(stdout.settled(ended.code or 0))


if __name__ == "__main__":
    main()
