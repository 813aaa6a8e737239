"""A batch in a process of its own: killed, interrupted, on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from d2m_cli.ground.ledger import LEDGER_NAME

KILLED = """
import sys, time
from pathlib import Path
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.search import find_files
from d2m_cli.batch.options import BatchOptions, Shard
from d2m_cli.batch.runner import ItemResult, run_batch

def work(job, report):
    for suffix, path in job.artefacts.items():
        with atomic_path(path) as part:
            part.write_bytes(job.path.read_bytes())
            if job.path.name == sys.argv[3] and suffix == ".json":
                print("half-way", flush=True)
                time.sleep(60)
    return ItemResult()

summary = run_batch(
    find_files([Path(sys.argv[1])], frozenset({".mp4"})), work,
    settings={}, artefacts=(".wav", ".json"), out_dir=Path(sys.argv[2]), options=BatchOptions(json_out=True),
    label="copy",
)
sys.exit(summary.exit_code)
"""


def launch(inputs: Path, hang_at: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KILLED, str(inputs), str(inputs.parent / "out"), hang_at]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it puts in the background deaf to the keyboard; this test is about hearing it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_kill_half_way_and_run_again(inputs: Path) -> None:
    process = launch(inputs, "b.mp4")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    out = inputs.parent / "out"
    whole = {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}
    whole.pop(LEDGER_NAME)
    # All results of a file appear together.
    assert whole == {"a.wav": b"a", "a.json": b"a"}
    process = launch(inputs, "none")
    stdout, _ = process.communicate()
    assert process.returncode == 0
    assert [item["state"] for item in json.loads(stdout)["items"]] == ["already done", "done", "done"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}.{kind}" for name in "abc" for kind in ("wav", "json")] + [LEDGER_NAME]
    )


def test_control_c_ends_with_130_and_a_summary(inputs: Path) -> None:
    process = launch(inputs, "b.mp4")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    document = json.loads(stdout)
    assert [item["state"] for item in document["items"]] == ["done", "not tried", "not tried"]
    assert "interrupted" in stderr
    assert not [path for path in (inputs.parent / "out").iterdir() if path.name.startswith(".")]


def test_a_terminal_shows_a_bar_and_keeps_stdout_clean(inputs: Path) -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", KILLED.replace("json_out=True", ""), str(inputs), str(inputs.parent / "o"), "-"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    stdout, _ = process.communicate()
    os.close(follower)
    shown = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(leader)
    assert process.returncode == 0
    assert stdout.splitlines() == [
        str(inputs.parent / "o" / f"{name}.{kind}") for name in "abc" for kind in ("wav", "json")
    ]
    assert b"3/3" in shown
    assert b"3 done" in shown
