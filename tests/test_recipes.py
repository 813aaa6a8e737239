"""The scripts that made the shipped models: all of them are told of, and each one starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "weights" / "recipes"
SCRIPTS = sorted(path.name for path in RECIPES.glob("*.py"))
NEEDED_BY_OTHERS = ("arrange.py", "captions.py", "render.py", "shared.py", "manifest.py")


def test_the_readme_names_every_script() -> None:
    told = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert SCRIPTS
    assert [name for name in SCRIPTS if f"`{name}" not in told] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in NEEDED_BY_OTHERS])
def test_each_script_starts(name: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(RECIPES / name), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
