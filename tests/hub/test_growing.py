from __future__ import annotations

import time
from pathlib import Path

import pytest

from d2m_cli.ground.progress import Progress
from d2m_cli.hub import growing


def test_what_came_is_told_in_megabytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "LOOK_SECONDS", 0.05)
    (tmp_path / "older").write_bytes(bytes(5_000_000))
    with growing.telling_growth(Progress(every=0.1), "weights.onnx", tmp_path, 4_000_000):
        (tmp_path / "part").write_bytes(bytes(1_000_000))
        time.sleep(0.3)
        (tmp_path / "part").write_bytes(bytes(3_000_000))
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("weights.onnx, in MB: 1 of 4")
    # How long the last megabyte takes hangs on how soon the others were seen.
    assert lines[-1].startswith(("weights.onnx, in MB: 3 of 4, about ", "weights.onnx, in MB: 3 of 4, nearly done"))
