"""How much of a run is networks: the least time that their calls take, beside that of ``d2m generate``.

::

    python benchmarks/networks_share.py
    python benchmarks/networks_share.py examples/videos/lock_112.mp4

Two runs over the same videos, from nothing kept: d2m as it is, in a process of its own; and one that counts how often
each network is called with inputs of each shape. Each is then called a few times with such an input and nothing beside
it, and the time of that times the number of calls is what networks take at least. Importing PyTorch, diffusers and
transformers is timed for itself.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import machine, seconds

from d2m_cli.ground.cores import cores
from d2m_cli.ground.surroundings import settle_program

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "videos"
IMPORTS = "import torch, diffusers, transformers, scipy.signal"
REPEATS = 5


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

    def alone(self, together: int) -> Counter[str]:
        """Seconds that all calls take at least, from those of each kind, made again with nothing beside them.

        One at a time with as many threads, or so many side by side with one each: what is quicker.
        """
        import torch

        took: Counter[str] = Counter()
        # PyTorch's number of threads is that of each thread for its own loops, and that of the process for MKL.
        with ThreadPoolExecutor(together, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for key, (runner, call) in self._first.items():
                once = partial(self._again, call)
                beside_others = partial(self._side_by_side, pool, call, together)
                torch.set_num_threads(together)
                once()
                alone = statistics.median(seconds(once) for _ in range(REPEATS))
                torch.set_num_threads(1)
                beside_others()
                beside = statistics.median(seconds(beside_others) for _ in range(REPEATS)) / together
                took[runner] += min(alone, beside) * self.counts[key]
        return took

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


def watched(videos: list[Path]) -> Counter[str]:
    """Seconds at least of the networks that music for these videos takes."""
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
    return calls.alone(cores())


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("videos", type=Path, nargs="*", default=[EXAMPLES])
    videos = parser.parse_args().videos
    print(machine(), flush=True)
    start = [sys.executable, "-m", "d2m_cli"]
    nowhere: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    imports = seconds(lambda: subprocess.run([sys.executable, "-c", IMPORTS], **nowhere))
    with tempfile.TemporaryDirectory() as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = seconds(lambda: subprocess.run([*start, *words(videos, out)], **nowhere))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    networks = watched(videos)
    least = sum(networks.values())
    told = ", ".join(f"{runner} {took:.1f} s" for runner, took in sorted(networks.items()))
    print(f"networks alone, on {cores()} cores: {least:.1f} s at least ({told})")
    print(f"d2m generate: {wall:.1f} s, {spent:.1f} s of CPU time; {imports:.1f} s of it importing")
    print(f"without importing: {(wall - imports) / least:.2f} times as long as the networks alone")


if __name__ == "__main__":
    main()
