"""How soon music begins: from the start of ``d2m generate`` to the first window, drawn three times, chosen and sounded.

::

    python benchmarks/first_window.py
    python benchmarks/first_window.py dance.mp4 --repeats 5

Each run is a process of its own that ends when the first window is there: from nothing kept; and with the poses of the
video kept from before, as for another prompt. CPU seconds are those of that process and of those that it started, up to
that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from side_by_side import D2M, EXAMPLES, Taken, machine, ratios, run, told


def inside(words: list[str], report: Path, begun: float) -> None:
    """Run the command line in this process up to its first window, and write down what that took."""
    import psutil

    from d2m_cli.ground.surroundings import settle_program

    settle_program(words)
    from d2m_cli.app import app
    from d2m_cli.generation.shelf import Shelf

    def first(*_: Any) -> None:
        # Both clocks have gone since before Python started.
        me = psutil.Process()
        times = [one.cpu_times() for one in (me, *me.children(recursive=True))]
        spent = sum(one.user + one.system for one in times)
        report.write_text(json.dumps({"wall": time.time() - begun, "cpu": spent}))
        os._exit(0)

    Shelf.add = first  # type: ignore[method-assign]
    app(words, prog_name="d2m")


def once(video: Path, folder: Path, kept: list[str]) -> Taken:
    """One run in a process of its own."""
    words = ["generate", str(video), "--genre", "lock", "--prompt", "funky guitar", "--overwrite"]
    words += ["--out", str(folder / "out"), *kept]
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    run(sys.executable, __file__, "--inside", json.dumps(words), "--begun", repr(time.time()), "--report", str(report))
    if not report.is_file():
        raise SystemExit("it ended before a window was drawn")
    return Taken(**json.loads(report.read_text()))


def main() -> None:
    """Time both, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", default=EXAMPLES / "lock_112.mp4")
    parser.add_argument("--repeats", type=int, default=5)
    for hidden in ("--inside", "--begun", "--report"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return inside(json.loads(given.inside), Path(given.report), float(given.begun))
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keeping = ["--cache", str(folder / "cache")]
        run(*D2M, "pose", str(given.video), "--out", str(folder / "poses"), *keeping)
        ways = {"poses kept": keeping, "from nothing kept": ["--no-cache"]}
        took: dict[str, list[Taken]] = {way: [] for way in ways}
        for turn in range(1 + given.repeats):
            for way, kept in ways.items():
                one = once(given.video, folder, kept)
                if turn:
                    took[way].append(one)
    for way, runs in took.items():
        print(told(f"to the first window, {way}", runs))
    print(f"from nothing kept it takes {ratios(took['from nothing kept'], took['poses kept'])}")


if __name__ == "__main__":
    main()
