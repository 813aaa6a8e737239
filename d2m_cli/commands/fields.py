"""Options of the command line made from the fields of an options dataclass, so that each is written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer


def with_options_of(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command that ends in ``**choices`` take one option for each field of a dataclass.

    Parameters
    ----------
    kind
        The dataclass; the metadata of each field holds its `d2m_cli.training.options.OptionSpec` as "spec".

    Returns
    -------
    A decorator. The command then gets in ``choices`` those fields that were given, as plain values; the others keep the
    default that the command begins with.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        names = {field.name for field in fields(kind)}

        def called(**given: Any) -> None:
            choices = {name: _plain(given.pop(name)) for name in names}
            command(**given, **{name: value for name, value in choices.items() if value is not None})

        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        signature = own.replace(parameters=[*kept, *_parameters(kind)])
        called.__signature__ = signature  # type: ignore[attr-defined]
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        return called

    return decorate


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind)
    made = []
    for field in fields(kind):
        spec, hint = field.metadata["spec"], hints[field.name]
        flag = field.name.replace("_", "-")
        switch = [f"--{flag}/--{spec.off or f'no-{flag}'}"] if hint is bool else []
        if get_origin(hint) is Literal:
            # Not Literal itself, which not every release of Typer can show.
            hint = StrEnum(field.name, {choice: choice for choice in get_args(hint)})
        info = typer.Option(*switch, help=spec.help, rich_help_panel=spec.panel, show_default=False)
        parameter = inspect.Parameter(
            field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[hint | None, info]
        )
        made.append(parameter)
    return made


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
