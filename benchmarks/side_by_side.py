"""Ways to do the same, timed turn by turn: what the other scripts here share."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from d2m_cli import __version__

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "videos"
D2M = (sys.executable, "-m", "d2m_cli")
"""The command line of this tree."""


@dataclass(frozen=True)
class Taken:
    """What one call took.

    Attributes
    ----------
    wall
        Seconds by the clock.
    cpu
        Seconds of all cores, of this process and of those that it started and that have ended since.
    """

    wall: float
    cpu: float


def taken(work: Callable[[], object]) -> Taken:
    """What one call takes."""
    begun, spent = time.perf_counter(), cpu_seconds()
    work()
    return Taken(time.perf_counter() - begun, cpu_seconds() - spent)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    return taken(work).wall


def cpu_seconds() -> float:
    """CPU seconds up to now, of this process and of those that it started and that have ended."""
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, whose))


def by_turns(works: Mapping[str, Callable[[], object]], repeats: int, warm: int = 1) -> dict[str, list[Taken]]:
    """What each call takes each time, after some that warm up.

    Turn by turn, and every other round from the last to the first, so that what else the machine does hits all alike.
    """
    for _ in range(warm):
        for work in works.values():
            work()
    took: dict[str, list[Taken]] = {name: [] for name in works}
    for number in range(repeats):
        for name in list(works)[:: -1 if number % 2 else 1]:
            took[name].append(taken(works[name]))
    return took


def spread(values: Sequence[float], form: Callable[[float], str] = "{:.2f}".format) -> str:
    """The median, and in brackets the least and the most."""
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def told(name: str, took: Sequence[Taken]) -> str:
    """A line on what one way takes."""
    walls, cpus = [one.wall for one in took], [one.cpu for one in took]
    return f"{name}: {spread(walls, short)}, CPU {spread(cpus, short)}"


def ratios(own: Sequence[Taken], other: Sequence[Taken]) -> str:
    """How many times as long the first takes, round by round."""
    pairs = list(zip(own, other, strict=True))
    walls, cpus = ([getattr(a, what) / getattr(b, what) for a, b in pairs] for what in ("wall", "cpu"))
    return f"{spread(walls)} times as long, {spread(cpus)} times the CPU time"


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], whose: str, repeats: int = 5, unit: str = ""
) -> float:
    """Time two calls, each once to warm up and then in turn, print a line, and give the median of the ratios.

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
    own, other = by_turns({"ours": ours, "theirs": theirs}, repeats).values()
    median, rival = (short(statistics.median(one.wall for one in side)) for side in (own, other))
    print(f"{name}: {median}, {whose} {rival}{f' {unit}' if unit else ''}; {ratios(own, other)}", flush=True)
    return statistics.median(a.wall / b.wall for a, b in zip(own, other, strict=True))


def machine() -> str:
    """One line on where the figures come from."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    cpus = f"{os.cpu_count()} CPUs{f' ({model})' if model else ''}"
    return f"{platform.platform()}, {cpus}, Python {platform.python_version()}, d2m {__version__}"


def gpu(device: str) -> str:
    """The name of a GPU of PyTorch's, or "CPU"."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"


def run(*command: str, **more: object) -> None:
    """Run a program to its good end, without its words; those of one that fails stand in the error."""
    ended = subprocess.run(command, capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")


def short(value: float) -> str:
    """Seconds for people."""
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.1f} ms"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []
