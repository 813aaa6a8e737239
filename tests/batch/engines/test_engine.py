"""Which engine does the work, and what is said where it can't."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from d2m_cli.batch.engines.engine import device_there, on_engine
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import BatchSummary, ItemResult, Job, Work
from d2m_cli.errors import MissingExtraError, UsageError
from d2m_cli.ground.progress import StageReport

RAY = BatchOptions(engine="ray")


def summary(*, interrupted: bool) -> BatchSummary:
    return BatchSummary("copy", Path("out"), {}, (), interrupted, None, 0.0)


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_does_the_work_hears_of_an_interrupt(interrupted: bool) -> None:
    heard: list[str] = []

    @contextmanager
    def making() -> Iterator[Work]:
        def work(job: Job, report: StageReport) -> ItemResult:
            raise AssertionError("never called")

        try:
            yield work
        except KeyboardInterrupt:
            heard.append("interrupt")
            raise

    def run(work: Work, workers: int) -> BatchSummary:
        assert workers == 3
        return summary(interrupted=interrupted)

    done = on_engine(making, run, BatchOptions(), workers=3, on_gpu=False, settings={}, settings_there=dict)
    assert done.interrupted is interrupted
    assert heard == ["interrupt"] * interrupted


def test_without_ray_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    code = "import sys; sys.modules['ray'] = None; from d2m_cli.entry import main; main()"
    words = [sys.executable, "-c", code, "pose", str(tmp_path / "a.mp4"), "--engine", "ray", "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--engine ray: Ray is not installed; pip install 'd2m[ray]'" in done.stderr


def test_devices_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_there("auto", BatchOptions()) == "auto"
    assert device_there("cpu", RAY) == "cpu"
    with pytest.raises(UsageError, match="Ray deals out the GPUs of its nodes"):
        device_there("cuda:1", RAY)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError):
        device_there("auto", RAY)


def test_an_address_is_for_ray() -> None:
    with pytest.raises(UsageError, match="ray_address is for engine='ray' alone"):
        BatchOptions(ray_address="auto")
