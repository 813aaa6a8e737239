"""Options of the command line made from the fields of an options dataclass, so that each is written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer


def with_options_of(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command that ends in ``**choices`` take one option for each field of a dataclass.

    Parameters
    ----------
    kind
        The dataclass, which checks its own values; the metadata of each field holds its
        `d2m_cli.training.options.OptionSpec` as "spec".

    Returns
    -------
    A decorator. The command then gets in ``choices`` the fields that were given on the command line, and no others.
    """
    names = [field.name for field in fields(kind)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def called(**given: Any) -> None:
            command(**{name: value for name, value in given.items() if name not in names or value is not None})

        own = inspect.signature(command, eval_str=True)
        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        called.__signature__ = own.replace(parameters=[*kept, *_parameters(kind)])  # type: ignore[attr-defined]
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        return called

    return decorate


def one_of(choices: Iterable[str]) -> str:
    """How a help page shows what an option may be."""
    return f"<{'|'.join(choices)}>"


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind)
    made = []
    for field in fields(kind):
        spec, hint, metavar = field.metadata["spec"], hints[field.name], None
        flag = field.name.replace("_", "-")
        switch = [f"--{flag}/--{spec.off or f'no-{flag}'}"] if hint is bool else []
        if get_origin(hint) is Literal:
            hint, metavar = str, one_of(get_args(hint))
        info = typer.Option(
            *switch, help=spec.help, rich_help_panel=spec.panel, show_default=False, metavar=metavar
        )  # fmt: skip
        place = inspect.Parameter.POSITIONAL_OR_KEYWORD
        made.append(inspect.Parameter(field.name, place, default=None, annotation=Annotated[hint | None, info]))
    return made
