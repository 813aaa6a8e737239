"""HRNet-W32 on a GPU: the measurements of `tests.gpu.measure`, and the bounds that they must keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import measure_hrnet as measured
from tests.gpu.full_size import W32
from tests.gpu.report import TEST_EFFORT, Place, Report

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def needs_the_provider() -> None:
    missing = measured.provider_missing()
    if missing is not None:
        pytest.skip(missing)


def test_the_cuda_provider_runs_and_is_faster_than_the_cpu(full_hrnet: Path, gpu: Place, report: Report) -> None:
    measured.measure_providers(report, full_hrnet, gpu, TEST_EFFORT)
    assert not report.broken
    assert any(check.name.startswith("the CUDA provider runs") for check in report.checks)
    assert report.value("hrnet", "OnnxModel, cuda, batch 8") > 2 * report.value("hrnet", "OnnxModel, cpu, batch 8")


def test_heat_maps_agree_with_torch_on_the_cpu(full_hrnet: Path, gpu: Place, report: Report) -> None:
    measured.measure_agreement(report, full_hrnet, gpu, TEST_EFFORT, W32)
    assert len(report.checks) == 2
    assert not report.broken
