"""``d2m weights list|pull|verify|path``: what is printed where, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import d2m_cli.app
from d2m_cli.hub.catalogue import CATALOGUE, Download, Weights
from tests.hub.loopback import Loopback, sha256

CONTENT = b"weights" * 1000
PATH = "/files/thing-1.pth"
Invoke = Callable[..., Result]


@pytest.fixture
def invoke() -> Invoke:
    runner = CliRunner()
    return lambda *arguments: runner.invoke(d2m_cli.app.app, ["weights", *map(str, arguments)])


@pytest.fixture
def thing(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Weights:
    server.files[PATH] = CONTENT
    entry = Weights("thing", "tests", Download(server.url + PATH, sha256(CONTENT)[:8]), "MIT")
    monkeypatch.setitem(CATALOGUE, "thing", entry)
    return entry


def test_list(home: Path, invoke: Invoke) -> None:
    result = invoke("list", "--json")
    assert result.exit_code == 0
    rows = {row["name"]: row for row in json.loads(result.stdout)["weights"]}
    assert set(CATALOGUE) <= set(rows)
    assert rows["movenet-thunder"]["state"] == "ships"
    assert Path(rows["movenet-thunder"]["path"]).is_file()
    assert rows["hrnet-w32"] == {
        "name": "hrnet-w32",
        "purpose": "HRNet, the paper's pose network, 256 x 192 pixels",
        "licence": "Apache-2.0",
        "terms": None,
        "origin": "https://download.openmmlab.com/mmpose/top_down/hrnet/hrnet_w32_coco_256x192-c78dce93_20200708.pth",
        "state": "absent",
        "size": None,
        "size_rounded": False,
        "sha256": "c78dce93",
        "path": None,
    }
    assert (rows["musicgen-small"]["size"], rows["musicgen-small"]["size_rounded"]) == (2_360_000_000, True)
    assert rows["sincresnet"]["sha256"] is None


@pytest.mark.parametrize("columns", ["80", "220"])
def test_list_in_words(home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = invoke("list")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for part in ("riffusion", "CC-BY-NC-4.0", "begins c78dce93", "not published", "about 2.4 GB", "told at pull"):
        assert part in text
    if columns == "80":
        assert all(len(line) <= 120 for line in result.stdout.splitlines() if "://" not in line and "npm" not in line)


def test_pull_path_verify(home: Path, thing: Weights, invoke: Invoke) -> None:
    missing = invoke("path", "thing")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert "Fetch it with 'd2m weights pull thing'" in missing.stderr
    pulled = invoke("pull", "thing")
    path = home / "weights" / "thing" / "thing-1.pth"
    assert (pulled.exit_code, pulled.stdout) == (0, f"{path}\n")
    assert "licence: MIT" in pulled.stderr
    assert invoke("path", "thing").stdout == f"{path}\n"
    verified = invoke("verify", "thing")
    assert (verified.exit_code, verified.stdout) == (0, "thing: 1 files, 7.0 kB, whole\n")
    path.write_bytes(CONTENT[::-1])
    verified = invoke("verify")
    assert verified.exit_code == 1
    assert "listener: 1 files" in verified.stdout
    assert f"d2m: error: thing: {path}: is damaged" in verified.stderr
    assert "run 'd2m weights pull thing' to fetch it again" in verified.stderr


def test_pull_goes_on_past_what_fails(home: Path, server: Loopback, thing: Weights, invoke: Invoke) -> None:
    server.always[PATH] = 404
    result = invoke("pull", "thing", "listener")
    assert result.exit_code == 1
    assert "d2m: error: " in result.stderr
    assert "the server answers 404" in result.stderr
    assert result.stdout.endswith("listener.safetensors\n")


def test_dry_run_writes_nothing(home: Path, server: Loopback, thing: Weights, invoke: Invoke) -> None:
    result = invoke("pull", "thing", "--dry-run")
    assert result.exit_code == 0
    assert f"thing-1.pth  size not published  sha256 {sha256(CONTENT)[:8]}..." in result.stdout
    assert not home.exists()
    assert server.seen == []


@pytest.mark.parametrize("command", ["pull", "path", "verify"])
def test_names_that_there_are_none_of(home: Path, invoke: Invoke, command: str) -> None:
    result = invoke(command, "theremin")
    assert result.exit_code == 2
    assert "no weights are called 'theremin': 'd2m weights list'" in result.stderr


def test_verify_of_what_is_not_here(home: Path, invoke: Invoke) -> None:
    result = invoke("verify", "vggish")
    assert result.exit_code == 2
    assert "d2m weights pull vggish" in result.stderr


def test_help_names_the_commands(invoke: Invoke) -> None:
    text = invoke("--help").output
    for name in ("list", "pull", "verify", "path", "export-hrnet", "import-encoders"):
        assert name in text
