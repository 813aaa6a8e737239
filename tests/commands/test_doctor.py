from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from d2m_cli.app import app
from d2m_cli.doctor import examine
from d2m_cli.doctor.check import Check

GOOD = Check("machine", "Python", "ok", "3.12.1", values={"version": "3.12.1"})
WARN = Check("folders", "cache", "warn", "a disk " + 20 * "that is full " + "\x1b[31m", "free some space")
LONG = "python -m pip install -c constraints.txt " + 20 * "another_package "
BAD = Check("packages", "torch", "bad", "is not installed", LONG)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A function that runs d2m doctor as if these checks had been made."""

    def run(checks: list[Check], *words: str) -> Result:
        def made(out: str, *, quick: bool, variables: Collection[str]) -> Iterator[Check]:
            # Of options, of those of subcommands, and such as stand for none.
            assert {"D2M_SEED", "D2M_CACHE", "D2M_HOME"} <= set(variables)
            assert (out, quick) == ("elsewhere" if "elsewhere" in words else "d2m_out", "--quick" in words)
            yield from checks

        monkeypatch.setattr(examine, "examine", made)
        return CliRunner().invoke(app, ["doctor", *words])

    return run


def test_all_well(doctor) -> None:
    done = doctor([GOOD])
    assert done.exit_code == 0
    assert done.stdout == "machine:\n  ok    Python: 3.12.1\n\nall well; try: d2m demo\n"


def test_what_to_do(doctor) -> None:
    done = doctor([GOOD, WARN, BAD], "--quick", "--out", "elsewhere")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    at = lines.index("what to do next:")
    assert lines[at + 1 :] == ["  1. packages, torch:", f"     {LONG}", "  2. folders, cache:", "     free some space"]
    # Commands stay whole; all else fits 80 columns, and nothing steers the terminal.
    assert max(len(line) for line in lines[:at]) <= 80
    assert "\x1b" not in done.stdout
    assert "  BAD   torch: is not installed" in lines


def test_what_can_wait(doctor) -> None:
    done = doctor([GOOD, WARN])
    assert done.exit_code == 0
    assert done.stdout.endswith("free some space\n\nmusic can be made as it is; try: d2m demo\n")


def test_json(doctor) -> None:
    done = doctor([GOOD, BAD], "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert list(document) == ["schema", "d2m", "usable", "quick", "checks", "steps"]
    assert (document["schema"], document["usable"]) == (1, False)
    assert [list(check) for check in document["checks"]] == 2 * [["group", "name", "state", "text", "remedy", "values"]]
    assert [list(step) for step in document["steps"]] == [["problem", "remedy"]]


@pytest.mark.slow
def test_on_this_machine(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "d2m_cli", "doctor", "--json", "--quick", "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    assert [check for check in document["checks"] if check["state"] == "bad"] == []
    assert done.returncode == 0
    assert done.stderr == "d2m doctor: looking at this machine\n"
    assert not (tmp_path / "out").exists()
