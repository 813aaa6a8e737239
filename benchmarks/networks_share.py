"""How much of a run is networks: the least time that their calls take, beside that of ``d2m generate``.

::

    python benchmarks/networks_share.py
    python benchmarks/networks_share.py examples/videos/lock_112.mp4

A first run over the videos, from nothing kept, counts how often each network is called with inputs of each shape. Each
is then called a few times with such an input and nothing beside it, and the time of that times the number of calls is
what networks take at least. This is done again after each further run of d2m, in a process of its own, which is held
against the mean of before and after: a slow spell of the machine hits both. Importing PyTorch, diffusers and
transformers is timed for itself. The ratio of CPU seconds changes least with what else the machine does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import D2M, EXAMPLES, Taken, by_turns, machine, run, spread, taken

from d2m_cli.ground.cores import cores
from d2m_cli.ground.surroundings import settle_program

IMPORTS = "import torch, diffusers, transformers, scipy.signal"
REPEATS = 3
"""Of each kind of call, every time that networks are timed."""


class Calls:
    """Calls of outermost networks: how many with inputs of which shape, and the first of each."""

    def __init__(self) -> None:
        self.counts: Counter[Hashable] = Counter()
        self._first: dict[Hashable, tuple[str, Callable[[], Any]]] = {}
        self._guard = threading.Lock()
        self._here = threading.local()

    def watch(self) -> None:
        """From now on, all sessions of ONNX Runtime and all modules of PyTorch."""
        import onnxruntime
        import torch

        for name in ("run", "run_with_iobinding"):
            call = getattr(onnxruntime.InferenceSession, name)
            setattr(onnxruntime.InferenceSession, name, self._counted("ONNX Runtime", call))
        torch.nn.Module.__call__ = self._counted("PyTorch", torch.nn.Module.__call__)  # type: ignore[method-assign]

    def alone(self, together: int) -> dict[str, Taken]:
        """What all calls take at least, by runner, from those of each kind, made again with nothing beside them.

        One at a time with as many threads, or so many side by side with one each: what is quicker, and what costs less.
        """
        import torch

        took: dict[str, Taken] = {}
        # PyTorch's number of threads is that of each thread for its own loops, and that of the process for MKL.
        with ThreadPoolExecutor(together, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for key, (runner, call) in self._first.items():
                alone = partial(self._again, call)
                beside = partial(self._side_by_side, pool, call, together)
                ways = [self._typical(alone, together, 1), self._typical(beside, 1, together)]
                wall, cpu = min(one.wall for one in ways), min(one.cpu for one in ways)
                before, times = took.get(runner, Taken(0, 0)), self.counts[key]
                took[runner] = Taken(before.wall + times * wall, before.cpu + times * cpu)
        return took

    def _typical(self, work: Callable[[], None], threads: int, calls: int) -> Taken:
        """Medians of what work takes, after once to warm up, for each of the calls that it makes."""
        import torch

        torch.set_num_threads(threads)
        (runs,) = by_turns({"": work}, REPEATS).values()
        return Taken(*(statistics.median(getattr(one, what) for one in runs) / calls for what in ("wall", "cpu")))

    def _again(self, call: Callable[[], Any]) -> None:
        import torch

        self._here.inside = True
        with torch.no_grad():
            call()

    def _side_by_side(self, pool: ThreadPoolExecutor, call: Callable[[], Any], count: int) -> None:
        for done in [pool.submit(self._again, call) for _ in range(count)]:
            done.result()

    def _counted(self, runner: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(network: Any, *given: Any, **named: Any) -> Any:
            if getattr(self._here, "inside", False):
                return call(network, *given, **named)
            key = runner, id(network), _shapes((given, named))
            with self._guard:
                self.counts[key] += 1
                self._first.setdefault(key, (runner, lambda: call(network, *given, **named)))
            self._here.inside = True
            try:
                return call(network, *given, **named)
            finally:
                self._here.inside = False

        return counted


def _shapes(value: Any) -> Hashable:
    if hasattr(value, "shape"):
        return tuple(value.shape)
    if isinstance(value, dict):
        return tuple((name, _shapes(one)) for name, one in value.items())
    return tuple(map(_shapes, value)) if isinstance(value, list | tuple) else type(value).__name__


def words(videos: list[Path], out: str) -> list[str]:
    """The command line."""
    options = ["--genre", "lock", "--prompt", "funky guitar", "--no-cache", "--no-report", "--out", out]
    return ["generate", *map(str, videos), *options]


def watched(videos: list[Path]) -> Calls:
    """The calls of networks that music for these videos takes."""
    # As the program does before it imports anything.
    settle_program(["generate"])
    from d2m_cli.app import app

    calls = Calls()
    calls.watch()
    with tempfile.TemporaryDirectory() as out:
        try:
            app(words(videos, out), prog_name="d2m")
        except SystemExit as ended:
            if ended.code:
                raise
    return calls


def one_run(videos: list[Path]) -> tuple[Taken, Taken]:
    """What d2m takes, and what importing does, each in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        return taken(lambda: run(*D2M, *words(videos, out))), taken(lambda: run(sys.executable, "-c", IMPORTS))


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*", default=[EXAMPLES])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine(), flush=True)
    # It warms up, too: the disk's cache, and what Numba compiles.
    calls = watched(given.videos)
    before = calls.alone(cores())
    print(f"{sum(calls.counts.values())} calls of {len(calls.counts)} kinds, on {cores()} cores", flush=True)
    shares: dict[str, list[float]] = {
        "the networks alone": [], "their core-seconds over the cores": [], "their core-seconds, in CPU time": []
    }  # fmt: skip
    for _ in range(given.repeats):
        whole, imports = one_run(given.videos)
        after = calls.alone(cores())
        least = {
            runner: Taken((one.wall + after[runner].wall) / 2, (one.cpu + after[runner].cpu) / 2)
            for runner, one in before.items()
        }
        wall, cpu = (sum(getattr(one, what) for one in least.values()) for what in ("wall", "cpu"))
        parts = ", ".join(f"{runner} {one.wall:.1f} s" for runner, one in sorted(least.items()))
        print(f"networks alone: {wall:.1f} s at least, {cpu:.1f} s of CPU time ({parts})")
        print(f"d2m generate: {whole.wall:.1f} s, {whole.cpu:.1f} s of CPU time; importing {imports.wall:.1f} and "
              f"{imports.cpu:.1f} s of it", flush=True)  # fmt: skip
        own = whole.wall - imports.wall, whole.cpu - imports.cpu
        floors = wall, cpu / cores(), cpu
        for values, mine, floor in zip(shares.values(), (own[0], *own), floors, strict=True):
            values.append(mine / floor)
        before = after
    for name, values in shares.items():
        print(f"without importing, against {name}: {spread(values)} times as much")


if __name__ == "__main__":
    main()
