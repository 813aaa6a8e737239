"""A batch whose results go to an address, with its ledger in a folder here."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, ItemResult, Job
from d2m_cli.batch.runner import run_batch
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.ledger import LEDGER_NAME
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import search

ADDRESS = "memory://music"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    fsspec.filesystem("memory").store.clear()
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.mov").write_bytes(name.encode())
    return tmp_path / "in"


def copied(inputs: Path, seed=0, artefacts=(".wav", ".json"), overwrite=False) -> BatchSummary:
    def work(job: Job, report: StageReport) -> ItemResult:
        for suffix, path in job.artefacts.items():
            with atomic_path(path) as part:
                part.write_bytes(f"{seed} {suffix} {job.path.read_text()}".encode())
        return ItemResult("copied")

    return run_batch(
        search([inputs], frozenset({".mov"})).found,
        work,
        settings={"seed": seed},
        artefacts=artefacts,
        out_dir=inputs.parent / "out",
        options=BatchOptions(store=ADDRESS, overwrite=overwrite),
        label="copy",
        workers=2,
    )


def states(summary: BatchSummary) -> list[str]:
    return [outcome.state for outcome in summary.outcomes]


def there() -> dict[str, bytes]:
    files = fsspec.filesystem("memory")
    return {name.removeprefix("/music/"): files.cat_file(name) for name in files.find("/music")}


def test_results_lie_at_the_address_and_the_ledger_here(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = copied(inputs)
    assert states(summary) == ["done"] * 3
    assert there() == {f"{name}{end}": f"0 {end} {name}".encode() for name in "abc" for end in (".wav", ".json")}
    assert [path.name for path in (inputs.parent / "out").iterdir()] == [LEDGER_NAME]
    assert "memory://music/a.wav" in capsys.readouterr().out.splitlines()
    assert summary.outcomes[0].artefacts[".json"] == "memory://music/a.json"


def test_a_second_run_makes_what_is_gone_or_changed_and_reads_nothing_else(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(inputs)
    files = fsspec.filesystem("memory")
    files.rm_file("/music/a.json")
    read: list[str] = []
    opened = type(files).open

    def noted(self, path: str, mode: str = "rb", **more: object):
        read.append(path)
        return opened(self, path, mode, **more)

    monkeypatch.setattr(type(files), "open", noted)
    assert states(copied(inputs)) == ["done", "already done", "already done"]
    assert not [path for path in read if "/b." in path or "/c." in path]
    # Someone else's file is not written over.
    files.pipe_file("/music/b.wav", b"mine")
    again = copied(inputs)
    assert states(again) == ["already done", "failed", "already done"]
    assert "memory://music/b.wav was changed since d2m made it" in again.outcomes[1].error
    assert states(copied(inputs, overwrite=True)) == ["done"] * 3
    assert there()["b.wav"] == b"0 .wav b"


def test_what_other_settings_made_goes(inputs: Path) -> None:
    copied(inputs)
    assert states(copied(inputs, seed=1, artefacts=(".wav",))) == ["done"] * 3
    assert there() == {f"{name}.wav": f"1 .wav {name}".encode() for name in "abc"}
