from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2m_cli import __version__
from d2m_cli.doctor import examine as examined
from d2m_cli.doctor import packages
from d2m_cli.doctor.check import Check
from d2m_cli.doctor.examine import Findings, Step, examine
from d2m_cli.doctor.packages import PINNED, REINSTALL

GOOD = Check("machine", "Python", "ok", "3.12.1", values={"version": "3.12.1"})
WARN = Check("folders", "cache", "warn", "full", "clear it")
BAD = Check("packages", "torch", "bad", "is not installed", "pip install torch")
OTHER = Check("packages", PINNED, "ok", "1 of 9 differ", values={"others": {"numpy": "2.0"}})


def test_nothing_to_do() -> None:
    found = Findings((GOOD, OTHER), quick=False)
    assert found.usable
    assert found.steps == ()


def test_what_is_broken_comes_first_and_once() -> None:
    again = Check("libraries", "torch", "bad", "can't be loaded", "pip install torch")
    found = Findings((WARN, GOOD, BAD, again), quick=False)
    assert not found.usable
    assert found.steps == (
        Step("packages, torch; libraries, torch", "pip install torch"),
        Step("folders, cache", "clear it"),
    )
    assert Findings((WARN,), quick=False).usable


def test_the_same_error_again_goes_with_the_first() -> None:
    text, raised = "ImportError: libcublas.so.12", {"error": "ImportError"}
    first = Check("libraries", "torch", "bad", text, "pip install torch", raised)
    second = Check("self-test", "loading", "bad", text, "report it", raised)
    assert Findings((first, second), quick=False).steps == (Step("libraries, torch; self-test, loading", first.remedy),)


def test_each_missing_package_has_a_remedy_of_its_own() -> None:
    other = Check("packages", "av", "bad", BAD.text, "pip install av")
    assert [step.remedy for step in Findings((BAD, other), quick=False).steps] == [
        "pip install torch",
        "pip install av",
    ]


def test_other_versions_are_a_last_resort() -> None:
    assert Findings((OTHER, BAD), quick=False).steps[-1].remedy == REINSTALL
    assert len(Findings((OTHER, WARN), quick=False).steps) == 1


def test_the_document() -> None:
    document = json.loads(json.dumps(Findings((GOOD, BAD), quick=True).to_json()))
    assert document == {
        "schema": 1,
        "d2m": __version__,
        "usable": False,
        "quick": True,
        "checks": [
            {
                "group": "machine",
                "name": "Python",
                "state": "ok",
                "text": "3.12.1",
                "remedy": "",
                "values": {"version": "3.12.1"},
            },
            {
                "group": "packages",
                "name": "torch",
                "state": "bad",
                "text": "is not installed",
                "remedy": "pip install torch",
                "values": {},
            },
        ],
        "steps": [{"problem": "packages, torch", "remedy": "pip install torch"}],
    }


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules that would be looked at in a process of their own."""
    asked: list[str] = []

    def look(module: str, group: str, *given: object) -> Iterator[Check]:
        asked.append(module.rpartition(".")[2])
        yield Check(group, "stand-in", "ok", "fine")

    monkeypatch.setattr(examined, "look_apart", look)
    return asked


def test_all_checks_are_made(apart: list[str], tmp_path: Path) -> None:
    found = list(examine(str(tmp_path / "out")))
    assert apart == ["libraries", "decoders", "providers", "gpus", "selftest"]
    groups = list(dict.fromkeys(check.group for check in found))
    assert groups == [
        "machine", "packages", "folders", "models", "libraries", "videos", "pose networks", "gpu", "self-test",
    ]  # fmt: skip


def test_quick_leaves_out_the_self_test(apart: list[str], tmp_path: Path) -> None:
    list(examine(str(tmp_path / "out"), quick=True))
    assert "selftest" not in apart


def test_one_check_that_breaks_stops_none(apart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Check]:
        yield GOOD
        raise RuntimeError("what")

    monkeypatch.setattr(packages, "look", broken)
    found = {(check.group, check.name): check for check in examine(str(tmp_path / "out"))}
    assert found["packages", "packages"].state == "bad"
    assert "folders" in {group for group, _ in found}


def test_names_are_left_out(apart: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = json.dumps(Findings(tuple(examine(str(tmp_path / "out"))), quick=False).to_json())
    assert str(tmp_path) not in text
    assert "~/out" in text


def test_it_begins_where_libraries_are_broken() -> None:
    """Nothing that has compiled code, nor much else, is needed to begin."""
    script = (
        "import sys\n"
        "for name in ('numpy', 'torch', 'av', 'onnxruntime', 'scipy', 'cv2', 'decord', 'librosa', 'soundfile',\n"
        "             'transformers', 'diffusers', 'huggingface_hub', 'packaging', 'filelock', 'rich'):\n"
        "    sys.modules[name] = None\n"
        "from d2m_cli.doctor import examine, machine\n"
        "examine.look_apart = lambda *given: ()\n"
        "print([one.name for one in examine.examine('out') if one.state == 'bad'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # What packages are required, and what lies in the hub's cache, can't be told without these.
    assert done.stdout.strip() in ("['machine', 'packages', 'models']", "['packages', 'models']")
