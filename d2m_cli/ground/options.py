"""How errors name the options they speak of: as Python writes them, or as flags where the command line asks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})
"""What a variable for a switch may say."""

_as_flags = False
_variables: Mapping[str, str] = {}


def tell_flags(wanted: bool = True) -> None:
    """Have `option` write flags from now on. The command line says so first of all; callers from Python need not."""
    global _as_flags
    _as_flags = wanted


def flags_are_told() -> bool:
    """Whether `option` writes flags, for a process that works for this one."""
    return _as_flags


def tell_variables(given: Mapping[str, str]) -> None:
    """Have `option` also name the variable of the environment that an option has its value from, by option."""
    global _variables
    _variables = dict(given)


def option(name: str, value: object = None) -> str:
    """An option for the text of an error.

    Parameters
    ----------
    name
        Its name in Python, such as "top_k".
    value
        What to give it, or None to name the option alone.

    Returns
    -------
    "top_k" or "rhythm='words'"; on the command line "--top-k" or "--rhythm words". True and False are switches there:
    "--overwrite", "--no-embed". One whose value is a variable's is "--top-k (from D2M_TOP_K)"; with a value it is only
    where the variable says the same, since errors also name what to give in its place.
    """
    if not _as_flags:
        return name if value is None else f"{name}={value!r}"
    variable = _variables.get(name)
    source = f" (from {variable})" if variable is not None and _says(os.environ.get(variable, ""), value) else ""
    flag = name.replace("_", "-")
    if value is False:
        return f"--no-{flag}{source}"
    return f"--{flag}{source}" if value is None or value is True else f"--{flag} {value}{source}"


def _says(text: str, value: object) -> bool:
    """Whether a variable's text gives an option this value; None is any."""
    if isinstance(value, bool):
        return text.strip().lower() in (_YES if value else _NO)
    return value is None or text == str(value)
