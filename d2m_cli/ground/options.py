"""How errors name the options they speak of: as Python writes them, or as flags where the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping

_as_flags = False
_variables: Mapping[str, str] = {}


def tell_flags(wanted: bool = True) -> None:
    """Have `option` write flags from now on. The command line says so first of all; callers from Python need not."""
    global _as_flags
    _as_flags = wanted


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
    "--overwrite", "--no-embed". One whose value is a variable's is "--top-k (from D2M_TOP_K)".
    """
    if not _as_flags:
        return name if value is None else f"{name}={value!r}"
    flag = name.replace("_", "-")
    if value is False:
        return f"--no-{flag}"
    if value is None and name in _variables:
        return f"--{flag} (from {_variables[name]})"
    return f"--{flag}" if value is None or value is True else f"--{flag} {value}"
