"""Which dancers to follow, in the one grammar that poses, rhythm and music share.

"largest" is the most prominent dancer, "all" is everybody, a number is how many at most (the most prominent ones), and
"only:N" is the one numbered N among all, from 0 for the most prominent.
"""

from __future__ import annotations

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option

_ONE = "only:"


def parse_dancers(text: str) -> str | int:
    """What the words of a command line mean: a number where it is one, else the text.

    Raises
    ------
    UsageError
        It is neither "largest", "all", a number from 1 nor "only:N".
    """
    dancers = int(text) if _is_number(text) else text
    check_dancers(dancers)
    return dancers


def check_dancers(dancers: str | int) -> None:
    """Raise UsageError unless the value is "largest", "all", a number from 1 or "only:N"."""
    if isinstance(dancers, str):
        good = dancers in ("largest", "all") or only_dancer(dancers) is not None
    else:
        good = not isinstance(dancers, bool) and dancers > 0
    if not good:
        raise UsageError(
            f"{option('dancers')} must be largest, all, how many at most (from 1) or only:N (one by number, from 0), "
            f"not {str(dancers)[:40]!r}"
        )


def only_dancer(dancers: str | int) -> int | None:
    """Number of the one dancer that "only:N" means; None for anything else."""
    if not isinstance(dancers, str) or not dancers.startswith(_ONE):
        return None
    number = dancers.removeprefix(_ONE)
    return int(number) if _is_number(number) else None


def to_follow(dancers: str | int | None) -> str | int:
    """Dancers to estimate poses of, so that those that are meant are among them under their numbers.

    None means nobody in particular, so the largest.
    """
    if dancers is None:
        return "largest"
    return dancers if only_dancer(dancers) is None else "all"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
