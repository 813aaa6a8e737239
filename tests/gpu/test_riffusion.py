"""Riffusion at full size on a GPU: the measurements of `tests.gpu.measure`, and the bounds that they must keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import measure_riffusion as measured
from tests.gpu.report import TEST_EFFORT, Place, Report

pytestmark = pytest.mark.gpu


def test_windows_are_finite_repeatable_and_as_fast_as_a_plain_loop(
    full_riffusion: Path, gpu: Place, report: Report
) -> None:
    measured.measure_windows(report, full_riffusion, gpu, TEST_EFFORT)
    assert not report.broken
    # 1,066 million parameters in two bytes each.
    assert 1.9 < report.value("riffusion", "peak, recorded, fp16, 20 steps, batch 1") < 8


def test_no_step_waits_for_the_gpu(full_riffusion: Path, gpu: Place, report: Report) -> None:
    measured.measure_waiting(report, full_riffusion, gpu, TEST_EFFORT)
    assert len(report.checks) == 2
    assert not report.broken


def test_networks_agree_with_those_on_the_cpu(full_riffusion: Path, gpu: Place, report: Report) -> None:
    measured.measure_agreement(report, full_riffusion, gpu, TEST_EFFORT)
    assert len(report.checks) == 12
    assert not report.broken


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_leaves_the_model_frozen(full_riffusion: Path, gpu: Place, report: Report, precision: str) -> None:
    measured.measure_steps(report, full_riffusion, gpu, TEST_EFFORT, (precision,))
    assert len(report.checks) == 3
    assert not report.broken
