"""A batch on a Ray cluster, driven by a process of its own, for the tests: its work copies files, or as they say."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from d2m_cli.batch.engines.engine import on_engine
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, ItemResult, Job, Work
from d2m_cli.batch.runner import run_batch
from d2m_cli.batch.voice import say
from d2m_cli.errors import VideoError
from d2m_cli.ground.cores import cores
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import search

SLOW = "D2M_TEST_SLOW"
"""Environment variable of a node on which each file takes so many seconds longer."""


@contextmanager
def making(log: Path, seconds: float) -> Iterator[Work]:
    """The work; each time that it begins on a file is noted in a log."""

    def work(job: Job, report: StageReport) -> ItemResult:
        with log.open("a") as file:
            file.write(f"{job.path.name} {os.getpid()}\n")
        report("copying", 0.5)
        say("d2m: it copies")
        content = job.path.read_bytes()
        time.sleep(seconds + float(os.environ.get(SLOW, "0")))
        if content.startswith(b"killer"):
            os.kill(os.getpid(), signal.SIGKILL)
        if content.startswith(b"bad"):
            raise VideoError(f"{job.path}: is not a video")
        if content.startswith(b"odd"):
            raise ZeroDivisionError("nobody foresaw this")
        for suffix, path in job.artefacts.items():
            with atomic_path(path) as part:
                part.write_bytes(b"%s %s, %d threads" % (content, suffix.encode(), cores()))
        return ItemResult("copied", {"pid": os.getpid()})

    yield work


def settings(seed: int, other: bool) -> Mapping[str, Any]:
    """What results hang on, as each process has it."""
    return {"seed": seed, **({"process": os.getpid()} if other else {})}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--other-settings", action="store_true", help="of each process of its own")
    given = parser.parse_args()
    options = BatchOptions(engine=given.engine, json_out=True)
    found = search([given.inputs], frozenset({".mov"}))
    here = settings(0, given.other_settings)

    def run(work: Work, workers: int) -> BatchSummary:
        return run_batch(
            found.found,
            work,
            settings=here,
            artefacts=(".wav", ".json"),
            out_dir=given.out,
            options=options,
            label="copy",
            workers=workers,
        )

    summary = on_engine(
        partial(making, given.log, given.seconds),
        run,
        options,
        workers=given.at_once,
        on_gpu=False,
        settings=here,
        settings_there=partial(settings, 0, given.other_settings),
    )
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    main()
