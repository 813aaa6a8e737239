"""The machine, as far as music hangs on it: Python, memory, threads, and variables that steer d2m."""

from __future__ import annotations

import math
import os
import platform
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path

from d2m_cli import __version__
from d2m_cli.doctor.check import Check
from d2m_cli.ground.cores import cores

GROUP = "machine"
MEMORY = 2e9
"""Bytes of free memory that music for a short video takes, with room to spare."""
THREADS = "OMP_NUM_THREADS"
PREFIX = "D2M_"
VARIABLES = (
    THREADS, "CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_CACHE", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "PYTHONPATH",
    "TMPDIR", "XDG_CACHE_HOME",
)  # fmt: skip
"""Variables that are told beside those that begin with "D2M_"."""
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")
_UNLIMITED = 1 << 60
_CGROUP = Path("/sys/fs/cgroup")


def look(variables: Collection[str] = ()) -> Iterator[Check]:
    """Python, memory, threads, and variables; `variables` are those that d2m reads."""
    yield Check(GROUP, "d2m", "ok", f"{__version__}, {_installed()}", values={"version": __version__})
    yield python_check()
    yield Check(GROUP, "system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield memory_check(*memory())
    yield threads_check(cores(), cpu_quota(), os.environ.get(THREADS))
    yield environment_check(os.environ, variables)


def python_check(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python against the versions that d2m is made for."""
    text = f"{'.'.join(map(str, version))} ({platform.python_implementation()}, {8 * struct.calcsize('P')} bits)"
    text += ", in an environment of its own" if sys.prefix != sys.base_prefix else ""
    values = {"version": ".".join(map(str, version))}
    try:
        wanted = metadata.metadata("d2m")["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        wanted = ""
    if wanted:
        from packaging.specifiers import SpecifierSet

        if not SpecifierSet(wanted).contains(values["version"], prereleases=True):
            remedy = "python3.12 -m venv .venv, and install d2m there"
            return Check(GROUP, "Python", "warn", f"{text}; d2m is made for {wanted}", remedy, values)
    return Check(GROUP, "Python", "ok", text, values=values)


def memory() -> tuple[int | None, int | None]:
    """Bytes of main memory, and those that are free, as far as this process may have them; None where not told."""
    total = available = None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = {name: 1024 * int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        total, available = told.get("MemTotal"), told.get("MemAvailable")
    except (OSError, ValueError):
        # No Linux: how much is free is told by no function that comes with Python.
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = memory_limit(_CGROUP)
    if limit is not None and total is not None and limit < total:
        total = limit
        available = min(available or limit, max(0, limit - used))
    return total, available


def memory_limit(folder: Path) -> tuple[int | None, int]:
    """Bytes that a container may take, None without a limit, and those it has taken."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, taken = (int((folder / name).read_text(encoding="ascii")) for name in (limit, used))
        except (OSError, ValueError):  # not there, or "max"
            continue
        return (most, taken) if most < _UNLIMITED else (None, taken)
    return None, 0


def memory_check(total: int | None, available: int | None) -> Check:
    """Main memory against what music takes."""
    values = {"total": total, "available": available}
    if total is None:
        return Check(GROUP, "memory", "ok", "how much there is can't be told here", values=values)
    if available is None:
        return Check(GROUP, "memory", "ok", f"{total / 1e9:.1f} GB", values=values)
    text = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB are free"
    if available < MEMORY:
        return Check(
            GROUP, "memory", "warn", text, f"close other programs: music takes about {MEMORY / 1e9:.0f} GB", values
        )
    return Check(GROUP, "memory", "ok", text, values=values)


def cpu_quota(folder: Path = _CGROUP) -> float | None:
    """Cores whose time a container may use; None without a limit."""
    try:
        most, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max"
        return None


def threads_check(threads: int, quota: float | None, told: str | None) -> Check:
    """Threads that compute, against the cores that there are.

    Parameters
    ----------
    threads
        From `cores`.
    quota
        From `cpu_quota`.
    told
        Value of OMP_NUM_THREADS.
    """
    values = {"threads": threads, "cores": os.cpu_count(), "quota": quota}
    text = f"{threads}, for {os.cpu_count()} cores" + (f", {THREADS} is {told!r}" if told else "")
    first = (told or "").partition(",")[0].strip()
    if told and not (first.isdecimal() and int(first) > 0):
        return Check(GROUP, "threads", "warn", f"{text}, which is no number of threads", f"unset {THREADS}", values)
    if quota is not None and threads >= 2 * quota:
        fitting = max(1, math.ceil(quota))
        text += f", of which this container may use {quota:.3g}"
        return Check(GROUP, "threads", "warn", text, f"export {THREADS}={fitting}", values)
    return Check(GROUP, "threads", "ok", text, values=values)


def environment_check(environment: Mapping[str, str], known: Collection[str] = ()) -> Check:
    """Variables that steer d2m and what it stands on; one that looks like a slip for a known one is told."""
    names = [name for name in sorted(environment) if name.startswith(PREFIX) or name in VARIABLES]
    told = {name: "..." if any(word in name for word in _SECRET) else environment[name] for name in names}
    text = ", ".join(f"{name}={value}" for name, value in told.items()) or "none of those that steer d2m is set"
    slips = {name: near[0] for name in names if name not in known and (near := _nearest(name, known))}
    if slips:
        meant = ", ".join(f"{name} is read by nothing, {near} is" for name, near in slips.items())
        remedy = f"unset {' '.join(slips)}; if they were meant, set {' '.join(slips.values())}"
        return Check(GROUP, "variables", "warn", f"{text}; {meant}", remedy, told)
    return Check(GROUP, "variables", "ok", text, values=told)


def _nearest(name: str, known: Collection[str]) -> list[str]:
    if not name.startswith(PREFIX):
        return []
    # Without what all begin with, which would make any two alike.
    endings = [one.removeprefix(PREFIX) for one in known]
    return [PREFIX + ending for ending in get_close_matches(name.removeprefix(PREFIX), endings, 1, 0.75)]


def _installed() -> str:
    """How d2m came here."""
    package = Path(__file__).resolve().parents[1]
    return "from a checkout" if (package.parent / "pyproject.toml").is_file() else "installed"
