"""What stands beside docs/scale.md: a script for Ray, a task for SkyPilot, a Dockerfile, a simulation."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_ray_job_goes_through_the_folders(tmp_path: Path) -> None:
    program, collection = tmp_path / "bin" / "d2m", tmp_path / "in put"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\nexit 1\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "COLLECTION": str(collection), "OUT": "music"}
    words = ["bash", str(ROOT / "examples" / "ray_job.sh"), "--genre", "house"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    asked = ["generate", str(collection), "--out", "music", "--by-folder", "--engine", "ray", "--genre", "house"]
    assert done.stdout.split("|")[:-1] == asked


def test_the_sky_task_gives_every_machine_something_to_do() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    task = yaml.safe_load((ROOT / "examples" / "skypilot.yaml").read_text())
    assert task["num_nodes"] == 4
    assert "d2m generate" in task["run"]
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)


def test_the_image_holds_what_the_project_names() -> None:
    text = (ROOT / "examples" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, flags=re.MULTILINE)
    assert copied == [".", "constraints.txt"]
    assert all((ROOT / name).exists() for name in copied)
    extras = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{name} = [" in extras for name in re.findall(r"\$\{wheel\}\[(\w+)\]", text))


def simulation():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module("simulate_collection")
    finally:
        sys.path.pop(0)


def test_the_simulation_agrees_with_a_hand_calculation() -> None:
    module = simulation()
    machine = module.Machine(gpu_seconds=2.0, cpu_seconds=16.0, cores=16, load_seconds=10.0)
    plain = module.Collection(
        videos=4000, partition=1000, holders=10, ledger_seconds=0.0, listing_seconds=0.01, losses=0.0, spread=0, slow=0
    )
    told = module.simulate(machine, plain)
    # 10 s of listing, 10 s of loading, 100 videos of 2 s each.
    assert told.hours == pytest.approx(220 / 3600)
    assert told.machine_hours == pytest.approx(4 * 10 * 220 / 3600)
    assert (told.busy, told.loading, told.listing) == pytest.approx((200 / 220, 10 / 220, 10 / 220))
    assert (told.waiting, told.again, told.tail) == pytest.approx((0, 0, 0), abs=1e-9)
    # Where the ledger takes 1 s a video, 1,000 take 1,000 s, and the last is worked on after that.
    slow = module.simulate(machine, module.replace(plain, ledger_seconds=1.0))
    assert slow.hours == pytest.approx((20 + 1000 + 2) / 3600)
    # All time is accounted for, also where holders are lost and differ.
    real = module.simulate(machine, module.replace(plain, spread=0.3, slow=0.2, losses=100.0, ledger_seconds=0.01))
    parts = (real.busy, real.loading, real.listing, real.waiting, real.again, real.tail)
    assert sum(parts) == pytest.approx(1.0, abs=1e-6)
    assert real.again > 0
    assert module.simulate(machine, plain, seed=3) == module.simulate(machine, plain, seed=3)
