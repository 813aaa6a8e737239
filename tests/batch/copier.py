"""A batch in this process, for the tests: its work copies files, or fails as their content says."""

from __future__ import annotations

import errno
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, Work, run_batch
from d2m_cli.errors import MissingWeightsError, VideoError
from d2m_cli.ground.files import atomic_path, output_error
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import find_files
from d2m_cli.media.process import MemoryLackError


class Copier:
    """Work that copies a file into each of its artefacts, or fails as the file's content says."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, job: Job, report: Report) -> ItemResult:
        report("copying", 0.5)
        self.seen.append(job.path.name)
        content = job.path.read_bytes()
        if content == b"bad":
            raise VideoError(f"{job.path}: is not a video")
        if content == b"bug":
            raise ZeroDivisionError("oops")
        if content == b"memory":
            raise MemoryError
        if content == b"gpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if content == b"decoder":
            raise MemoryLackError(f"{job.path}: it needs more memory than a video should")
        if content == b"full":
            raise OSError(errno.ENOSPC, "full", str(job.path))
        if content == b"long":
            raise output_error(job.artefacts[".wav"], OSError(errno.ENAMETOOLONG, "long"))
        if content == b"vanishes":
            job.path.unlink()
            job.path.read_bytes()
        if content == b"grows":
            job.path.write_bytes(b"grown")
        if content == b"half":
            job.artefacts[".wav"].write_bytes(b"half")
            raise VideoError(f"{job.path}: ends early")
        if content == b"stop":
            raise KeyboardInterrupt
        if content == b"weights":
            raise MissingWeightsError("no weights")
        for path in job.artefacts.values():
            with atomic_path(path) as part:
                part.write_bytes(content)
        return ItemResult("copied", {"size": len(content)})


def run(inputs: Path, work: Work, **changes: Any) -> BatchSummary:
    how = {one.name: changes.pop(one.name) for one in fields(BatchOptions) if one.name in changes}
    arguments = {
        "options": BatchOptions(**how),
        "settings": {"k": 1},
        "artefacts": (".wav", ".json"),
        "out_dir": inputs.parent / "out",
        "label": "copy",
        **changes,
    }
    return run_batch(find_files([inputs], frozenset({".mp4"})), work, **arguments)


def states(summary: BatchSummary) -> list[str]:
    return [outcome.state for outcome in summary.outcomes]


def ledger_lines(inputs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (inputs.parent / "out" / LEDGER_NAME).read_text().splitlines()]
