"""A run with nothing to do over a large folder: seconds and memory for each of so many items.

::

    python benchmarks/rerun.py                          # 10 to 100,000 items that are done
    python benchmarks/rerun.py --items 100000 --work /fast/disk

Every item is a small file in a folder of a thousand, with three results and the ledger of ``d2m generate``, which also
sees whether its page over all results is up to date; the run before those that are timed has written it.
Each measurement is a process of its own: it searches the folder and looks every file up by path, size and times, the
lines for each item going to ``/dev/null``. ``--verify``, which reads all of the files, is measured for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

from side_by_side import machine

from d2m_cli import __version__
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import ItemResult, Job
from d2m_cli.batch.report_page import ReportPage
from d2m_cli.batch.runner import run_batch
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.ledger import INPUT, LEDGER_NAME, Artefact, Entry
from d2m_cli.ground.ledger_entries import to_json
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import search
from d2m_cli.ground.stamp import Stamp

SUFFIXES = (".wav", ".mp4", ".json")
SETTINGS = {"seed": 0}
DETAILS = {
    "seconds": 12.0, "bpm": 112.3, "peaks": 40, "beats": 22, "windows": 3, "mp4": "copied",
    "prompt": "a lock @ music with * as the rhythm, funky guitar",
}  # fmt: skip


def make(folder: Path, count: int) -> None:
    """Write `count` done items into a folder, and the lines that a run leaves of them in the ledger."""
    for start in range(0, count, 1000):
        for side in ("in", "out"):
            (folder / side / f"{start // 1000:04}").mkdir(parents=True)
    files = [_files(folder, number) for number in range(count)]
    for contents in files:
        for path, content in contents.items():
            path.write_bytes(content)
    time.sleep(0.1)  # stamps vouch for what is older than a tick of the clock
    with (folder / "out" / LEDGER_NAME).open("w", encoding="ascii") as ledger:
        for number, contents in enumerate(files):
            for entry in _entries(folder, number, contents):
                ledger.write(json.dumps(to_json(entry)) + "\n")


def _files(folder: Path, number: int) -> dict[Path, bytes]:
    """The input of an item and its results, with their contents."""
    stem = f"{number // 1000:04}/dance_{number:06}"
    names = [folder / "in" / f"{stem}.mp4", *(folder / "out" / f"{stem}{suffix}" for suffix in SUFFIXES)]
    return {path: b"%d %s" % (number, path.suffix.encode()) for path in names}


def _entries(folder: Path, number: int, contents: dict[Path, bytes]) -> list[Entry]:
    source, *results = contents
    digests = {path: blake2b(content, digest_size=16).hexdigest() for path, content in contents.items()}
    stem = results[0].relative_to(folder / "out").with_suffix("").as_posix()
    made = tuple(
        Artefact(path.relative_to(folder / "out").as_posix(), len(contents[path]), digests[path]) for path in results
    )
    settings = settings_digest("generate", {**SETTINGS, "d2m": __version__})
    read = {INPUT: Stamp.of(source)}
    seen = {**read, **{one.path: Stamp.of(path) for one, path in zip(made, results, strict=True)}}
    rest = {"run": "0123456789ab", "command": "generate", "stem": stem, "place": f"../in/{stem}.mp4", "at": time.time()}
    head = (str(source), digests[source], settings)
    claimed = tuple(Artefact(one.path, -1, "") for one in made)
    return [
        Entry(*head, "started", claimed, stamps=read, **rest),  # type: ignore[arg-type]
        Entry(*head, "placing", made, stamps=read, **rest),  # type: ignore[arg-type]
        Entry(*head, "done", made, stamps=seen, seconds=8.25, details=DETAILS, **rest),  # type: ignore[arg-type]
    ]


def again(folder: Path, verify: bool) -> dict[str, float]:
    """Run over the folder once more, and say what that took; anything to be done is an error."""

    def work(job: Job, report: Report) -> ItemResult:
        raise AssertionError(f"{job.path} is done already")

    begun, spent = time.perf_counter(), time.process_time()
    found = search([folder / "in"], frozenset({".mp4"}))
    summary = run_batch(
        found.found, work, settings=SETTINGS, artefacts=SUFFIXES, out_dir=folder / "out",
        options=BatchOptions(verify=verify), label="generate", page=ReportPage(),
    )  # fmt: skip
    if summary.count("already done") < len(summary.outcomes):
        raise AssertionError("not all was done")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - spent, "bytes": memory,
    }  # fmt: skip


def measure(folder: Path, verify: bool) -> dict[str, float]:
    """`again` in a process of its own."""
    with tempfile.NamedTemporaryFile() as found, open(os.devnull, "w") as nowhere:
        command = [sys.executable, __file__, "--again", str(folder), "--report", found.name]
        subprocess.run(command + ["--verify"] * verify, stdout=nowhere, stderr=nowhere, check=True)
        return dict(json.loads(Path(found.name).read_bytes()))


def main() -> None:
    """Make the folders, measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--items", type=int, nargs="*", default=[10, 1000, 10_000, 100_000])
    parser.add_argument("--work", type=Path, help="folder for the files; a temporary one without")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--verify", action="store_true", help="measure --verify too")
    options = parser.parse_args()
    if options.again is not None:
        options.report.write_text(json.dumps(again(options.again, options.verify)))
        return
    print(machine(), flush=True)
    for count in options.items:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            make(Path(folder), count)
            for verify in (False, True) if options.verify else (False,):
                measure(Path(folder), verify)  # so that each finds the disk's cache warm
                rounds = [measure(Path(folder), verify) for _ in range(options.repeats)]
                seconds = sorted(one["seconds"] for one in rounds)
                spent = min(one["cpu_seconds"] for one in rounds)
                memory = max(one["bytes"] for one in rounds)
                print(
                    f"{count:>7} items{', verified' if verify else ''}: {seconds[len(seconds) // 2]:.2f} s "
                    f"({seconds[0]:.2f} to {seconds[-1]:.2f}), {spent:.2f} s of the CPU, {memory / 1e6:.0f} MB; "
                    f"{1e3 * seconds[len(seconds) // 2] / count:.3f} ms an item",
                    flush=True,
                )


if __name__ == "__main__":
    main()
