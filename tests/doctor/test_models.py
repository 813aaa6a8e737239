from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.doctor import models
from d2m_cli.doctor.models import fetched_checks, shipped_check
from d2m_cli.hub.inventory import Row
from d2m_cli.hub.store import Checked


def row(name: str, state: str, size: int | None = None, licence: str = "MIT") -> Row:
    return Row(name, "music", licence, "", "origin", state, size, False, "", None, True)


def test_what_ships_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D2M_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    first, *_ = models.look()
    assert first.state == "ok"
    assert first.values["count"] > 3
    assert first.values["bytes"] > 10_000_000


def test_what_ships_is_damaged() -> None:
    check = shipped_check([Checked("a", 1, 5), Checked("b", 1, 0, ("b.onnx: is missing; install d2m again",))])
    assert (check.state, check.text) == ("bad", "b.onnx: is missing; install d2m again")
    assert "pip install" in check.remedy


def test_what_was_fetched() -> None:
    rows = [
        row("movenet", "ships", 5),
        row("musicgen-small", "here", 2_150_000_000, "CC-BY-NC-4.0"),
        row("clap", "absent", 600_000_000),
        row("ace-step", "unfinished"),
        row("rtmpose-m", "damaged"),
    ]
    here, part, damaged = fetched_checks(rows)
    assert (here.name, here.state, here.text) == ("musicgen-small", "ok", "licence CC-BY-NC-4.0, 2,150 MB")
    assert (part.state, part.text, part.remedy) == ("warn", "was fetched in part", "d2m weights pull ace-step")
    assert (damaged.state, damaged.text, damaged.remedy) == ("warn", "is damaged", "d2m weights pull rtmpose-m")
    (none,) = fetched_checks([row("clap", "absent")])
    assert (none.state, none.name) == ("ok", "fetched")
