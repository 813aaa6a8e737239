"""Two ways to do the same, timed turn by turn in one process: what the other scripts here share."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

from d2m_cli import __version__


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], whose: str, repeats: int = 5, unit: str = ""
) -> float:
    """Time two calls, each once to warm up and then in turn, print a line, and give the median of the ratios.

    Turn by turn, so that what else the machine does slows both alike.

    Parameters
    ----------
    name
        What is done.
    ours, theirs
        d2m's way and the other.
    whose
        Name of the other.
    repeats
        Rounds.
    unit
        What one call works on.
    """
    ours(), theirs()
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    ratios = sorted(own / other for own, other in rounds)
    ratio = statistics.median(ratios)
    own, other = (statistics.median(side) for side in zip(*rounds, strict=True))
    print(
        f"{name}: {_short(own)}, {whose} {_short(other)}{f' {unit}' if unit else ''}; "
        f"{ratio:.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )
    return ratio


def machine() -> str:
    """One line on where the figures come from."""
    return f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, d2m {__version__}"


def _short(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.1f} ms"
