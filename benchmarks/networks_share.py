"""How much of a run is networks: their core-seconds beside the wall-clock and CPU time of ``d2m generate``.

::

    python benchmarks/networks_share.py
    python benchmarks/networks_share.py examples/videos/lock_112.mp4

Two runs over the same videos, from nothing kept: d2m as it is, in a process of its own; and one with a single video in
hand at a time, so that the CPU time of this process while a network computes is that network's (pictures are decoded in
another process). Importing PyTorch, diffusers and transformers is timed for itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from side_by_side import machine, seconds

from d2m_cli.ground.surroundings import settle_program

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "videos"
IMPORTS = "import torch, diffusers, transformers, scipy.signal"


class Shares:
    """CPU seconds of this process while outermost networks compute, by what runs them."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._here = threading.local()

    def begin(self) -> None:
        """A network begins, perhaps within another."""
        depth = getattr(self._here, "depth", 0)
        if depth == 0:
            self._here.begun = time.process_time()
        self._here.depth = depth + 1

    def end(self, runner: str) -> None:
        """It ends."""
        self._here.depth -= 1
        if self._here.depth == 0:
            self.seconds[runner] += time.process_time() - self._here.begun

    def watch(self) -> None:
        """From now on, all sessions of ONNX Runtime and all modules of PyTorch."""
        import onnxruntime
        from torch.nn.modules import module

        for name in ("run", "run_with_iobinding"):
            setattr(onnxruntime.InferenceSession, name, self._timed(getattr(onnxruntime.InferenceSession, name)))
        module.register_module_forward_pre_hook(lambda *_: self.begin())
        module.register_module_forward_hook(lambda *_: self.end("PyTorch"), always_call=True)

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            self.begin()
            try:
                return call(*given, **named)
            finally:
                self.end("ONNX Runtime")

        return timed


def words(videos: list[Path], out: str) -> list[str]:
    """The command line."""
    options = ["--genre", "lock", "--prompt", "funky guitar", "--no-cache", "--no-report", "--out", out]
    return ["generate", *map(str, videos), *options]


def watched(videos: list[Path]) -> Counter[str]:
    """Core-seconds of the networks, one video in hand at a time."""
    # As the program does before it imports anything.
    settle_program(["generate"])
    from d2m_cli.app import app
    from d2m_cli.batch import music_files

    shares, music_files.IN_HAND = Shares(), 1
    shares.watch()
    with tempfile.TemporaryDirectory() as out:
        try:
            app(words(videos, out), prog_name="d2m")
        except SystemExit as ended:
            if ended.code:
                raise
    return shares.seconds


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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    least = sum(networks.values()) / cores
    told = ", ".join(f"{runner} {took:.1f} s" for runner, took in sorted(networks.items()))
    print(f"networks: {sum(networks.values()):.1f} core-seconds ({told}), on {cores} cores {least:.1f} s at least")
    print(f"d2m generate: {wall:.1f} s, {spent:.1f} s of CPU time; {imports:.1f} s of it importing")
    print(f"without importing: {(wall - imports) / least:.2f} times as long as the networks alone")


if __name__ == "__main__":
    main()
