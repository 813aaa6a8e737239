"""How errors name the options they speak of: as Python writes them, or as flags where the command line asks for it."""

from __future__ import annotations

_as_flags = False


def tell_flags(wanted: bool = True) -> None:
    """Have `option` write flags from now on. The command line says so first of all; callers from Python need not."""
    global _as_flags
    _as_flags = wanted


def flags_are_told() -> bool:
    """Whether `option` writes flags, for a process that works for this one."""
    return _as_flags


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
    "--overwrite", "--no-embed".
    """
    if not _as_flags:
        return name if value is None else f"{name}={value!r}"
    flag = name.replace("_", "-")
    if value is False:
        return f"--no-{flag}"
    return f"--{flag}" if value is None or value is True else f"--{flag} {value}"
