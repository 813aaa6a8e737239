"""Runs on other machines of a shared folder, which are seen by their counts: those live, stand still, or come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.batch import leases, stages
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, ItemResult, Job
from d2m_cli.batch.runner import run_batch
from d2m_cli.batch.runs import Run, at_work, bury, is_alive
from d2m_cli.errors import OutputError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.ledger import LEDGER_NAME, Ledger
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import search
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "time", made)
    monkeypatch.setattr(leases, "_sights", {})
    return made


def other_run(folder: Path, *, settings: str = "s", count: int = 0) -> Path:
    """The claim of a run on another machine, which shows no lock here."""
    run = folder / ".d2m-run-elsewhere"
    run.mkdir(parents=True)
    card = {"who": "process 1 on far", "settings": settings, "artefacts": [".wav"], "results": ["a.wav"]}
    (run / leases.CARD).write_text(json.dumps(card))
    beat(run, count)
    return run


def beat(run: Path, count: int) -> None:
    (run / leases.BEAT).write_bytes(b"another-machine %012d" % count)


def test_a_run_elsewhere_lives_while_it_counts_whatever_locks_say(tmp_path: Path, clock: Clock) -> None:
    run, ledger = other_run(tmp_path), Ledger(tmp_path)
    for count in range(40):  # 200 s
        beat(run, count)
        assert is_alive(ledger, "elsewhere")
        clock.now += 5.0
    bury(ledger)
    assert run.exists()
    assert [other.who for other in at_work(ledger)] == ["process 1 on far"]


def test_a_run_elsewhere_is_dead_once_its_count_stood_still_for_the_lease(tmp_path: Path, clock: Clock) -> None:
    run, ledger = other_run(tmp_path), Ledger(tmp_path)
    alive = []
    for _ in range(16):
        alive.append(is_alive(ledger, "elsewhere"))
        clock.now += 5.0
    # Seen first at 0 s; at 60 s it has stood still for 60 s.
    assert alive == [True] * 12 + [False] * 4
    bury(ledger)
    assert not run.exists()


def test_an_observer_who_stood_still_itself_learns_nothing_from_that(tmp_path: Path, clock: Clock) -> None:
    other_run(tmp_path)
    ledger = Ledger(tmp_path)
    assert is_alive(ledger, "elsewhere")
    clock.now += 3600.0
    assert is_alive(ledger, "elsewhere")


def test_clocks_of_other_machines_decide_nothing(tmp_path: Path, clock: Clock) -> None:
    run, ledger = other_run(tmp_path), Ledger(tmp_path)
    for number, stamp in enumerate([0.0, time.time() + 1e6]):
        beat(run, number)
        os.utime(run / leases.BEAT, (stamp, stamp))
        assert is_alive(ledger, "elsewhere")
        clock.now += 5.0
    os.utime(run / leases.BEAT, (0.0, 0.0))
    assert at_work(ledger)[0].who.startswith("process 1 on far, not heard of for ")


def test_a_claim_with_other_settings_is_waited_for_and_then_taken(tmp_path: Path, clock: Clock) -> None:
    run, ledger = other_run(tmp_path, settings="other"), Ledger(tmp_path)
    os.utime(run / leases.BEAT, (0.0, 0.0))
    begun = clock.now
    mine = Run(ledger, "s", [".wav"], ["a.wav"])
    assert leases.LEASE_SECONDS <= clock.now - begun < leases.LEASE_SECONDS + 10
    assert mine.others == ()
    assert mine.refuses(["a.wav"], "s", [".wav"]) is None
    mine.end()


def test_a_run_of_this_machine_is_known_by_its_lock_at_once(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger(tmp_path)
    mine = Run(ledger, "s", [".wav"], ["a.wav"])
    clock.now += 1000.0
    assert is_alive(ledger, mine.name)
    os.close(mine._handle)
    assert not is_alive(ledger, mine.name)
    mine._handle = os.open(os.devnull, os.O_RDONLY)
    mine.end()


def test_the_count_goes_on_until_the_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    run = Run(Ledger(tmp_path), "s", [".wav"], ["a.wav"])
    file = run.folder / leases.BEAT
    first = int(file.read_bytes().split()[1])
    wait_until(lambda: int(file.read_bytes().split()[1]) >= first + 3, "the count")
    run.check()
    run.end()
    assert not run.folder.exists()


def copied(inputs: Path, out: Path, work: Any = None, **options: Any) -> BatchSummary:
    def copy(job: Job, report: StageReport) -> ItemResult:
        for path in job.artefacts.values():
            with atomic_path(path) as part:
                # As the process does it that the test kills.
                part.write_bytes(b"".join(b"0 %d .wav %s\n" % (n, job.path.read_bytes()) for n in range(8)))
        return ItemResult("copied")

    return run_batch(
        search([inputs], frozenset({".mov"})).found,
        work or copy,
        settings={"seed": 0},
        artefacts=(".wav",),
        out_dir=out,
        options=BatchOptions(**options),
        label="copy",
    )


def test_what_a_dead_run_on_another_machine_had_in_hand_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for name in "abc":
        (inputs / f"{name}.mov").write_bytes(name.encode())
    command = [sys.executable, "-m", "tests.batch.copying", inputs, out, "--artefacts", ".wav", "--wait-for", "never"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith("at a.mov") for line in process.stderr)
    # From here on this process is one of another machine.
    monkeypatch.setattr(leases, "machine", lambda: "here")
    theirs = next(out.glob(".d2m-run-*"))
    monkeypatch.setattr(leases, "is_locked", lambda path: path.parent != theirs or pytest.fail("a lock was asked"))
    monkeypatch.setattr(leases, "_sights", {})
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(stages, "POLL_SECONDS", 0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    begun = time.monotonic()
    summary = copied(inputs, out)
    assert [outcome.state for outcome in summary.outcomes] == ["done"] * 3
    assert time.monotonic() - begun >= 1.0
    lines = [json.loads(line) for line in (out / LEDGER_NAME).read_text().splitlines()]
    assert [Path(line["input"]).name for line in lines if line["status"] == "died"] == ["a.mov"]
    assert sorted(Path(line["input"]).name for line in lines if line["status"] == "done") == ["a.mov", "b.mov", "c.mov"]


def test_a_run_that_was_taken_for_dead_places_nothing_any_more(tmp_path: Path) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for name in "ab":
        (inputs / f"{name}.mov").write_bytes(name.encode())

    def work(job: Job, report: StageReport) -> ItemResult:
        for path in job.artefacts.values():
            path.write_bytes(b"late")
        # Another machine has buried this run.
        card = next(out.glob(f".d2m-run-*/{leases.CARD}"))
        card.unlink()
        return ItemResult("made")

    summary = copied(inputs, out, work)
    assert "another has taken over; run the same command again" in summary.stopped
    assert not list(out.glob("*.wav"))
    with pytest.raises(OutputError):
        leases.Pulse(tmp_path).check()
