"""A batch in a process of its own, for the tests: its work copies files, slowly, or as their content says."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time
from pathlib import Path

from d2m_cli.batch import lines
from d2m_cli.batch.options import BatchOptions, Shard
from d2m_cli.batch.outcome import ItemResult, Job
from d2m_cli.batch.runner import run_batch
from d2m_cli.batch.voice import say
from d2m_cli.errors import VideoError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import search
from d2m_cli.ground.stdout import guard_stderr

PARTS = 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long each file takes")
    parser.add_argument("--artefacts", default=".wav,.mp3,.json")
    parser.add_argument("--wait-for", type=Path, help="go on with a file once this one is there")
    parser.add_argument("--wait-from", type=int, default=1, help="number of the first file that waits for it")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--shard")
    parser.add_argument("--retry-failed", action="store_true")
    parser.add_argument("--max-failures", type=int)
    parser.add_argument("--own", action="store_true", help="each file has settings of its own")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--silence", type=float, default=lines.SILENCE_SECONDS, help="longest time without a word")
    options = parser.parse_args()
    lines.SILENCE_SECONDS = options.silence
    guard_stderr()

    begun = itertools.count(1)

    def work(job: Job, report: Report) -> ItemResult:
        number = next(begun)
        content = job.path.read_bytes()
        if content.startswith(b"killer"):
            os.kill(os.getpid(), signal.SIGKILL)
        say(f"at {job.path.name}")
        while options.wait_for is not None and number >= options.wait_from and not options.wait_for.exists():
            time.sleep(0.01)
        if content.startswith(b"bad"):
            raise VideoError(f"{job.path}: is not a video")
        for path in job.artefacts.values():
            with atomic_path(path) as part, part.open("wb") as file:
                for part_number in range(PARTS):
                    file.write(b"%d %d %s %s\n" % (options.seed, part_number, path.suffix.encode(), content))
                    file.flush()
                    time.sleep(options.seconds / PARTS / len(job.artefacts))
        return ItemResult("copied")

    found = search([options.inputs], frozenset({".mov", ".mp4", ".avi"}))
    summary = run_batch(
        found.found,
        work,
        settings={"seed": options.seed},
        own_settings=(lambda item: {"seed": options.seed, "name": item.path.stem}) if options.own else None,
        artefacts=options.artefacts.split(","),
        out_dir=options.out,
        options=BatchOptions(
            overwrite=options.overwrite,
            json_out=options.json,
            dry_run=options.dry_run,
            shard=Shard.parse(options.shard) if options.shard else None,
            retry_failed=options.retry_failed,
            max_failures=options.max_failures,
        ),
        passed_over=found.passed_over,
        label="copy",
        workers=options.workers,
    )
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    main()
