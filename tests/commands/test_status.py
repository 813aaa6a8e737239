from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from d2m_cli.app import app
from d2m_cli.ground.ledger import Artefact, Entry, Ledger


@pytest.fixture
def invoke() -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Ten done in nine minutes, five failed, one broken off."""
    ledger = Ledger(tmp_path / "out")

    def add(name: str, status: str, at: float, error: str | None = None) -> None:
        artefacts = (Artefact(f"{name}.wav", 1, "ab"),)
        words = {"command": "generate", "stem": name, "at": at, "kind": "input" if error else ""}
        ledger.add(Entry(f"in/{name}.mp4", "c", "s", status, artefacts, error=error, **words))  # type: ignore[arg-type]

    for number in range(10):
        add(f"done{number}", "done", 1_000_000.0 + 60 * number)
    for number in range(4):
        add(f"bad{number}", "failed", 1_000_000.0, f"in/bad{number}.mp4: nobody\nwas found")
    add("worse", "failed", 1_000_000.0, "in/worse.mp4: is not a video")
    add("half", "interrupted", 1_000_000.0)
    return tmp_path / "out"


def test_in_words(invoke, out: Path) -> None:
    result = invoke("status", out)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{out}: generate: 10 done, 5 failed, 1 begun and not finished",
        "  1.67 a minute",
        "  nobody is at work: run the same command again to go on",
        "  4 failed: nobody\\nwas found (in/bad0.mp4, in/bad1.mp4, in/bad2.mp4, ...)",
        "  1 failed: is not a video (in/worse.mp4)",
    ]


def test_for_machines(invoke, out: Path) -> None:
    document = json.loads(invoke("status", out, "--json").stdout)
    assert document["folder"] == str(out)
    (found,) = document["commands"]
    # 15 files in nine minutes.
    assert found.pop("per_minute") == pytest.approx(15 / 9)
    assert found.pop("failed_by_reason")[1] == {
        "text": "is not a video", "kind": "input", "inputs": ["in/worse.mp4"], "count": 1,
    }  # fmt: skip
    assert found == {
        "command": "generate", "done": 10, "failed": 5, "in_hand": 0, "waiting": 0, "left_behind": 1,
        "seconds_left": None, "runs": [],
    }  # fmt: skip


def test_folder_by_folder_and_in_sum(invoke, out: Path) -> None:
    (out.parent / "none").mkdir()
    result = invoke("status", out.parent)
    (out.parent / "more").mkdir()
    artefacts = (Artefact("x.wav", 1, "ab"),)
    Ledger(out.parent / "more").add(Entry("in/x.mp4", "c", "s", "done", artefacts, command="generate", stem="x"))
    both = invoke("status", out.parent)
    told = [line for line in both.stdout.splitlines() if not line.startswith(" ")]
    assert told == [
        f"{out.parent / 'more'}: generate: 1 done",
        f"{out}: generate: 10 done, 5 failed, 1 begun and not finished",
        "2 folders: generate: 11 done, 5 failed, 1 begun and not finished",
    ]
    assert both.stdout.startswith(f"{out.parent / 'more'}: generate: 1 done\n")
    assert result.stdout == invoke("status", out).stdout
    document = json.loads(invoke("status", out.parent, "--json").stdout)
    assert (document["folder"], document["commands"]) == (str(out.parent), [])
    assert [one["folder"] for one in document["folders"]] == [str(out.parent / "more"), str(out)]
    assert document["folders"][1]["commands"] == json.loads(invoke("status", out, "--json").stdout)["commands"]


def test_a_broken_ledger_costs_its_own_folder(invoke, out: Path) -> None:
    (out.parent / "broken" / "d2m-ledger.jsonl").mkdir(parents=True)
    (out.parent / "loop").symlink_to("loop")
    result = invoke("status", out.parent)
    assert result.exit_code == 1
    assert result.stdout == invoke("status", out).stdout
    assert "broken/d2m-ledger.jsonl: the ledger can't be read" in result.stderr
    told = invoke("status", out.parent, "--json")
    assert (told.exit_code, len(json.loads(told.stdout)["folders"])) == (1, 1)


def test_a_folder_that_d2m_never_wrote_to(invoke, tmp_path: Path) -> None:
    result = invoke("status", tmp_path)
    assert (result.exit_code, "holds no d2m-ledger.jsonl" in result.stderr) == (2, True)


def test_the_options_of_all_that_go_through_videos(invoke, make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    for command in ("pose", "rhythm", "generate"):
        words = [command, video, "--out", tmp_path / "out", "--dry-run", "--json"]
        for share in ("0/2", "3/2", "2", "x/y"):
            result = invoke(*words, "--shard", share)
            assert (result.exit_code, "--shard must be" in result.stderr) == (2, True), (command, share)
        assert invoke(*words, "--max-failures", 0).exit_code == 2
        counts = [
            len(json.loads(invoke(*words, "--shard", share, "--retry-failed", "--max-failures", 1).stdout)["items"])
            for share in ("1/2", "2/2")
        ]
        assert sorted(counts) == [0, 1], command
