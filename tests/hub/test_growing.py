from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.ground.progress import Progress
from d2m_cli.hub import growing
from tests.waiting import wait_until


def test_what_came_is_told_in_megabytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "LOOK_SECONDS", 0.05)
    lines: list[str] = []

    def told(count: int) -> bool:
        lines.extend(capsys.readouterr().err.splitlines())
        return any(line.startswith(f"weights.onnx, in MB: {count} of 4") for line in lines)

    (tmp_path / "older").write_bytes(bytes(5_000_000))
    with growing.telling_growth(Progress(every=0.1), "weights.onnx", tmp_path, 4_000_000):
        # Before the first look there may be none of it yet.
        (tmp_path / "part").write_bytes(bytes(1_000_000))
        wait_until(lambda: told(1))
        (tmp_path / "part").write_bytes(bytes(3_000_000))
        wait_until(lambda: told(3))
    counts = [int(line.removeprefix("weights.onnx, in MB: ").partition(" of 4")[0]) for line in lines]
    assert counts == sorted(counts)
    assert set(counts) <= {0, 1, 3}
    # How long the last megabyte takes hangs on how soon the others were seen.
    assert lines[-1].startswith(("weights.onnx, in MB: 3 of 4, about ", "weights.onnx, in MB: 3 of 4, nearly done"))
