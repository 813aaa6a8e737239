"""What a batch costs besides the work on its files: seconds and memory for each of 10, 100 and 1,000.

::

    python benchmarks/growth.py
    python benchmarks/growth.py --items 10 100 1000 --workers 1 2 8 --work /fast/disk
    python benchmarks/growth.py --items 20000 --folders 1 10 --workers 8 --repeats 1

Every item is a small file, and the work on it writes three small results; so what is measured is the batch itself:
reading, the claim, the ledger with a line on disk before and after each item, results moved to their places. Each
measurement is a process of its own. With more than one folder, the items lie in so many, and each is a run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from side_by_side import machine

from d2m_cli.batch.by_folder import run_by_folder
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.outcome import BatchSummary, ItemResult, Job
from d2m_cli.batch.runner import run_batch
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import search

SUFFIXES = (".wav", ".mp4", ".json")


def work(job: Job, report: Report) -> ItemResult:
    """Write what the file holds into each of its results."""
    report("copying", 0.5)
    for path in job.artefacts.values():
        with atomic_path(path) as part:
            part.write_bytes(job.path.read_bytes())
    return ItemResult("copied")


def once(folder: Path, workers: int) -> dict[str, float]:
    """Make the results of a folder, and say what that took."""
    begun, spent = time.perf_counter(), time.process_time()

    def run(inputs: Sequence[Input], out: Path, options: BatchOptions) -> BatchSummary:
        found = search(inputs, frozenset({".mp4"})).found
        return run_batch(
            found, work, settings={}, artefacts=SUFFIXES, out_dir=out, options=options, label="copy", workers=workers
        )

    inputs, out = [Input(folder / "in")], folder / "out"
    if (folder / "in" / "0").is_dir():
        code = run_by_folder(inputs, out, PLAIN, run)
    else:
        code = run(inputs, out, PLAIN).exit_code
    if code != 0 or not out.exists():
        raise AssertionError("not all was made")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - spent, "bytes": memory}


def measure(place: Path | None, count: int, workers: int, folders: int) -> dict[str, float]:
    """`once` in a process of its own, over so many files in a new folder, or in so many."""
    with tempfile.TemporaryDirectory(dir=place) as name, tempfile.NamedTemporaryFile() as found:
        folder = Path(name)
        inside = [folder / "in" / (str(number) if folders > 1 else "") for number in range(folders)]
        for one in inside:
            one.mkdir(parents=True)
        for number in range(count):
            (inside[number * folders // count] / f"{number:06}.mp4").write_bytes(b"%d" % number)
        command = [sys.executable, __file__, "--once", name, "--workers", str(workers), "--report", found.name]
        with open(os.devnull, "w") as nowhere:
            subprocess.run(command, stdout=nowhere, stderr=nowhere, check=True)
        return dict(json.loads(Path(found.name).read_bytes()))


def main() -> None:
    """Measure, and print a line for each number of files and of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--items", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 8])
    parser.add_argument("--folders", type=int, nargs="*", default=[1])
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary one without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once is not None:
        options.report.write_text(json.dumps(once(options.once, options.workers[0])))
        return
    print(machine())
    for workers in options.workers:
        for count, folders in itertools.product(options.items, options.folders):
            rounds = [measure(options.work, count, workers, folders) for _ in range(options.repeats)]
            seconds = sorted(one["seconds"] for one in rounds)
            middle = statistics.median(seconds)
            spent, memory = min(one["cpu_seconds"] for one in rounds), max(one["bytes"] for one in rounds)
            where = f" in {folders} folders" if folders > 1 else ""
            print(
                f"{workers} at once, {count:>5} items{where}: {middle:.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}), "
                f"{memory / 1e6:.0f} MB; {1e3 * middle / count:.1f} ms an item, {1e3 * spent / count:.1f} of the CPU",
                flush=True,
            )


if __name__ == "__main__":
    main()
