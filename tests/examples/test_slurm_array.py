from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm_array.sh"


def test_the_tasks_of_an_array_take_the_shares(tmp_path: Path) -> None:
    program = tmp_path / "d2m"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 130\n")
    program.chmod(0o755)

    def task(**around: str) -> list[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SHARES"))}
        environment = {**plain, "PATH": f"{tmp_path}:{plain['PATH']}", "COLLECTION": "/a collection", "OUT": "music"}
        words = ["bash", str(SCRIPT), "--genre", "house"]
        done = subprocess.run(words, env={**environment, **around}, capture_output=True, text=True, check=False)
        assert done.returncode == 130  # d2m's own
        *head, option, share, genre, house = done.stdout.splitlines()
        assert head == ["generate", "/a collection", "--out", "music"]
        assert (option, genre, house) == ("--shard", "--genre", "house")
        return share.split("/")

    array = [task(SLURM_ARRAY_TASK_ID=str(number), SLURM_ARRAY_TASK_MAX="2") for number in range(3)]
    assert array == [["1", "3"], ["2", "3"], ["3", "3"]]
    # One of many again, and a job that is no array.
    assert task(SLURM_ARRAY_TASK_ID="7", SLURM_ARRAY_TASK_MAX="9", SHARES="16") == ["8", "16"]
    assert task() == ["1", "1"]
    refused = subprocess.run(["bash", str(SCRIPT)], env={"PATH": os.environ["PATH"]}, capture_output=True, check=False)
    assert refused.returncode != 0
