"""Batches on a Ray cluster of two nodes, both on this machine: nodes, processes and drivers that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.ground.ledger import LEDGER_NAME
from tests.batch.engines.ray_copying import SLOW

pytest.importorskip("ray", reason="Ray is not installed")

ROOT = Path(__file__).resolve().parents[3]
STORE = 80 * 2**20
"""Bytes of a node's object store, near the least that Ray takes."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The first of two nodes of one core; tests add the second."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE}
    made = Cluster(initialize_head=True, head_node_args=head)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    try:
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(16):
        (folder / f"{number:02}.mov").write_bytes(b"%d" % number)
    return folder


def launch(inputs: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    module = "tests.batch.engines.ray_copying"
    command = [sys.executable, "-m", module, inputs, out, "--log", inputs.parent / f"{out.name}.log", *options]
    words = [str(word) for word in command]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ends(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    stdout, stderr = process.communicate(timeout=240)
    return process.returncode, json.loads(stdout) if stdout else {}, stderr


def lines(out: Path) -> list[dict[str, Any]]:
    ledger = out / LEDGER_NAME
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def counts(out: Path, status: str) -> Counter[str]:
    """How often the ledger says this of each file."""
    return Counter(Path(line["input"]).name for line in lines(out) if line["status"] == status)


def attempts(out: Path) -> Counter[str]:
    """How often the work began on each file."""
    return Counter(line.split()[0] for line in out.with_name(f"{out.name}.log").read_text().splitlines())


def wait_for_done(process: subprocess.Popen[str], out: Path, count: int) -> None:
    end = time.monotonic() + 240  # Ray takes its time on a busy machine
    while sum(counts(out, "done").values()) < count:
        assert process.poll() is None, f"ended before it came to {count} files"
        assert time.monotonic() < end, f"never came to {count} files"
        time.sleep(0.05)


def results(out: Path) -> dict[str, bytes]:
    """All files but the ledger, also those that are hidden."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != LEDGER_NAME}


@pytest.mark.slow
def test_nothing_is_lost_or_made_twice_where_a_node_and_the_driver_die(
    cluster: Any, inputs: Path, tmp_path: Path
) -> None:
    (inputs / "bad.mov").write_bytes(b"bad")
    out = tmp_path / "out"
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    # So slow that there is something left to do once Ray has removed the node.
    first = launch(inputs, out, "--seconds", 1.5)
    wait_for_done(first, out, 4)
    cluster.remove_node(node, allow_graceful=False)
    before = sum(counts(out, "done").values())
    wait_for_done(first, out, before + 3)
    first.kill()
    first.communicate()
    done = counts(out, "done")
    assert 0 < len(done) < 16

    code, document, stderr = ends(launch(inputs, out))
    # What several processes say is said once.
    assert stderr.splitlines().count("d2m: it copies") == 1
    assert (code, document["done"], document["already_done"]) == (1, 16 - len(done), len(done))
    failed = [item for item in document["items"] if item["state"] == "failed"]
    assert [(item["input"], item["error"]) for item in failed] == [
        (str(inputs / "bad.mov"), f"{inputs / 'bad.mov'}: is not a video")
    ]
    everyone = {f"{number:02}.mov" for number in range(16)}
    assert counts(out, "done") == dict.fromkeys(everyone, 1)
    # A death of the driver is no word against what it had in hand.
    assert counts(out, "died") == {}
    begun = attempts(out)
    assert set(begun) == everyone | {"bad.mov"}
    # Each process has two in hand when its node or its driver ends, and works on what the lost node had one by one.
    assert sum(begun.values()) <= 17 + 2 + 4
    assert all(begun[name] == 1 for name in list(done)[:4])

    ends(launch(inputs, tmp_path / "alone", "--engine", "local"))
    assert results(out) == results(tmp_path / "alone")


@pytest.mark.slow
def test_a_file_that_ends_its_processes_fails_and_the_others_that_were_in_hand_do_not(
    cluster: Any, inputs: Path, tmp_path: Path
) -> None:
    for name in ("07.mov", "12.mov"):
        (inputs / name).write_bytes(b"killer")
    (inputs / "odd.mov").write_bytes(b"odd")
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    out = tmp_path / "out"
    code, document, stderr = ends(launch(inputs, out, "--at-once", 3, "--seconds", 0.1))
    assert code == 1
    failed = {Path(item["input"]).name: item for item in document["items"] if item["state"] == "failed"}
    assert set(failed) == {"07.mov", "12.mov", "odd.mov"}
    assert "3 processes in a row ended that worked on this file alone" in failed["07.mov"]["error"]
    assert failed["odd.mov"]["error"].startswith("bug in d2m or a library: ZeroDivisionError at ray_copying.py:")
    assert "raise ZeroDivisionError" in failed["odd.mov"]["traceback"]
    assert document["done"] == 14
    assert counts(out, "done") == {f"{number:02}.mov": 1 for number in range(16) if number not in (7, 12)}
    assert {line["kind"] for line in lines(out) if line["status"] == "failed"} == {"deaths", "bug"}
    assert max(count for name, count in attempts(out).items() if name not in failed) <= 3
    assert "is gone" in stderr
    # One that killed its processes is tried again another time; a bug would come again.
    (inputs / "07.mov").write_bytes(b"well now")
    (inputs / "12.mov").write_bytes(b"well now")
    code, document, _ = ends(launch(inputs, out))
    assert (code, document["done"], document["already_done"], document["failed_before"]) == (1, 2, 14, 1)


@pytest.mark.slow
def test_a_slow_node_gets_fewer_files(cluster: Any, inputs: Path, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars={SLOW: "3"})
    out = tmp_path / "out"
    code, document, _ = ends(launch(inputs, out, "--seconds", 0.3, "--at-once", 1))
    assert (code, document["done"]) == (0, 16)
    assert set(attempts(out).values()) == {1}
    by_process = Counter(item["details"]["pid"] for item in document["items"])
    assert len(by_process) == 2
    assert min(by_process.values()) <= 5
    ends(launch(inputs, tmp_path / "alone", "--engine", "local"))
    assert results(out) == results(tmp_path / "alone")


@pytest.mark.slow
def test_an_interrupt_ends_in_order_and_the_next_run_goes_on(cluster: Any, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = launch(inputs, out, "--seconds", 0.5)
    wait_for_done(first, out, 2)
    first.send_signal(signal.SIGINT)
    code, document, stderr = ends(first)
    assert (code, document["interrupted"], document["failed"]) == (130, True, 0), stderr
    assert not [name for name in os.listdir(out) if name.startswith(".d2m-run")]
    code, document, _ = ends(launch(inputs, out))
    assert code == 0
    assert counts(out, "done") == {f"{number:02}.mov": 1 for number in range(16)}


@pytest.mark.slow
def test_a_node_that_would_make_other_results_is_refused(cluster: Any, inputs: Path, tmp_path: Path) -> None:
    process = launch(inputs, tmp_path / "out", "--other-settings")
    code, _, stderr = ends(process)
    assert code != 0
    assert "would make other results than this machine (process differ)" in stderr
    assert counts(tmp_path / "out", "done") == {}
