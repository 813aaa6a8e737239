"""Variables of the environment that give options their defaults: D2M_SEED is what --seed is by default."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

PREFIX = "D2M_"
OTHERS = ("D2M_HOME", "D2M_CACHE_GB")
"""Variables that stand for no option."""
ONCE = frozenset({"--overwrite", "--retry-failed", "--dry-run", "--verify", "--json", "--list-words"})
"""Flags that are meant for one call: a variable that was forgotten must not replace files or change what is printed."""
CONTRARY: Sequence[tuple[str, str, Callable[[Any], bool]]] = (
    ("cache", "no_cache", bool),
    ("no_cache", "cache", bool),
    ("genre", "genre_audio", bool),
    ("genre", "genre_table", lambda genre: genre != "auto"),
    ("genre", "genre_words", lambda genre: genre == "auto"),
    ("genre_audio", "genre", bool),
    ("genre_audio", "genre_table", bool),
    ("genre_audio", "genre_words", bool),
    ("music", "variations", bool),
    ("variations", "music", lambda count: count > 1),
)
"""Of each two the first, where the command line gives it such a value, goes before a variable for the second."""


def variable_of(flag: str) -> str:
    """Name of the variable for a flag: "D2M_TOP_K" for "--top-k"."""
    return PREFIX + flag.lstrip("-").replace("-", "_").upper()


def with_variables(only: Collection[str] | None = None) -> type[TyperCommand]:
    """The class of a command whose options take their defaults from variables.

    Parameters
    ----------
    only
        The flags that do; None stands for all but `ONCE`.
    """

    class Command(TyperCommand):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            option: Any
            for option in self.params:
                flag = next((text for text in option.opts if text.startswith("--")), None)
                if flag is not None and (flag in only if only is not None else flag not in ONCE):
                    # Not in the help of each: it says once how they are called.
                    option.envvar, option.show_envvar = variable_of(flag), False

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            try:
                left: list[str] = super().parse_args(ctx, args)
            except typer.BadParameter as error:
                option = error.param
                if option is not None and from_variable(ctx, str(option.name)):
                    error.param_hint = f"'{option.opts[0]}' (from {option.envvar})"
                # What the library that reads values puts before the reason.
                error.message = error.message.removeprefix("Value error, ")
                raise
            for first, second, excludes in CONTRARY:
                given = on_command_line(ctx, first) and excludes(ctx.params[first])
                if given and from_variable(ctx, second):
                    ctx.params[second] = next(one for one in self.params if one.name == second).get_default(ctx)
            return left

        def invoke(self, ctx: Any) -> Any:
            from d2m_cli.ground.options import tell_variables

            given = [one for one in self.params if one.envvar is not None and from_variable(ctx, str(one.name))]
            tell_variables({str(one.envvar).removeprefix(PREFIX).lower(): str(one.envvar) for one in given})
            return super().invoke(ctx)

    return Command


def variables_of(command: Any) -> frozenset[str]:
    """Names of all variables that d2m reads: those of the options of a command and of those below it, and its own."""
    found = set(OTHERS)
    for option in command.params:
        if isinstance(option.envvar, str):
            found.add(option.envvar)
    for inner in getattr(command, "commands", {}).values():
        found |= variables_of(inner)
    return frozenset(found)


def from_variable(context: Any, name: str) -> bool:
    """Whether an option has its value from a variable."""
    return _source(context, name) == "ENVIRONMENT"


def on_command_line(context: Any, name: str) -> bool:
    """Whether an option was given on the command line."""
    return _source(context, name) == "COMMANDLINE"


def _source(context: Any, name: str) -> str | None:
    found = context.get_parameter_source(name)
    return None if found is None else str(found.name)
