"""Results that are asked for at different times, of the same files with the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.batch.outcome import ItemResult, Job, Outcome
from d2m_cli.batch.runner import run_batch
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import find_files

WAV, FLAC, TAKE, RECORD = ".wav", ".flac", ".take-1.wav", ".json"


class Writer:
    """Writes all that is asked for, and keeps what lay beside it."""

    def __init__(self) -> None:
        self.beside: list[tuple[str, ...]] = []

    def __call__(self, job: Job, report: Report) -> ItemResult:
        self.beside.append(job.beside)
        for suffix, path in job.artefacts.items():
            with atomic_path(path) as part:
                part.write_text(suffix)
        return ItemResult()


@pytest.fixture
def run(tmp_path: Path):
    """A function that makes artefacts of one file, and tells what became of it and what lay beside."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"a")
    writer = Writer()

    def make(*artefacts: str, seed: int = 0) -> tuple[Outcome, tuple[str, ...] | None]:
        writer.beside.clear()
        summary = run_batch(
            find_files([tmp_path / "in"], frozenset({".mp4"})),
            writer,
            settings={"seed": seed},
            artefacts=artefacts,
            out_dir=tmp_path / "out",
            label="generate",
        )
        (outcome,) = summary.outcomes
        return outcome, writer.beside[0] if writer.beside else None

    return make


def there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith("a.")}


def test_what_was_made_before_stays_and_is_told(run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(WAV, TAKE, RECORD)[1] == ()
    outcome, beside = run(FLAC, RECORD)
    assert (outcome.state, beside) == ("done", (TAKE, WAV))
    assert there(out) == {"a.wav", "a.take-1.wav", "a.flac", "a.json"}
    # All of it is done now, whichever of it is asked for.
    for artefacts in ((WAV, RECORD), (WAV, TAKE, RECORD), (WAV, FLAC, TAKE, RECORD)):
        assert run(*artefacts)[0].state == "already done"


def test_what_was_changed_or_lost_is_not_told(run, tmp_path: Path) -> None:
    run(WAV, TAKE, RECORD)
    (tmp_path / "out" / "a.wav").write_text("mine")
    (tmp_path / "out" / "a.take-1.wav").unlink()
    assert run(FLAC, RECORD)[1] == ()


def test_takes_of_other_settings_go_with_the_rest(run, tmp_path: Path) -> None:
    run(WAV, TAKE, RECORD)
    outcome, beside = run(FLAC, RECORD, seed=1)
    assert (outcome.state, beside) == ("done", ())
    assert there(tmp_path / "out") == {"a.flac", "a.json"}
