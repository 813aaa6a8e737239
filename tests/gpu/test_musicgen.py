"""MusicGen at full size on a GPU: the measurements of `tests.gpu.measure`, and the bounds that they must keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu import measure_musicgen as measured
from tests.gpu.report import TEST_EFFORT, Place, Report, describe

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def windows(full_musicgen: Path, gpu: Place) -> Report:
    """Windows without compiling, in every number format."""
    report = Report(describe(gpu))
    measured.measure_windows(report, full_musicgen, gpu, TEST_EFFORT)
    return report


def test_windows_are_finite_and_repeatable_and_recording_pays(windows: Report) -> None:
    # Three of each batch: 1, 8 and 16 windows in fp16, 8 in bf16 and in fp32, one step by step; three of their parts;
    # and 1 and 16 windows are fast enough.
    assert len(windows.checks) == 23
    assert not windows.broken
    # 587 million parameters, the decoder's 420 million of them in two bytes each.
    assert 1.3 < windows.value("musicgen", "peak, recorded, fp16, batch 1") < 4


def test_compiling_pays_and_is_faster_than_it_plays(windows: Report, full_musicgen: Path, gpu: Place) -> None:
    measured.measure_compiled(windows, full_musicgen, gpu, TEST_EFFORT, 1)
    assert not windows.broken
    assert windows.value("musicgen", "real-time factor, compiled, fp16, batch 1") < 1


def test_many_windows_at_once_cost_less_than_one_by_one(windows: Report) -> None:
    one, many = (windows.value("musicgen", f"window, recorded, fp16, batch {batch}") for batch in TEST_EFFORT.batches)
    assert many < TEST_EFFORT.batches[1] / TEST_EFFORT.batches[0] * one


def test_d2m_is_no_slower_than_transformers(windows: Report, full_musicgen: Path, gpu: Place) -> None:
    measured.measure_transformers(windows, full_musicgen, gpu, TEST_EFFORT)
    for batch in TEST_EFFORT.batches:
        theirs = windows.value("musicgen", f"window, transformers' generate, bf16, batch {batch}")
        assert windows.value("musicgen", f"window, recorded, fp16, batch {batch}") < 1.2 * theirs


def test_the_likeliest_tokens_are_the_same_recorded_plain_compiled_and_by_transformers(
    full_musicgen: Path, gpu: Place, report: Report
) -> None:
    measured.measure_same_tokens(report, full_musicgen, gpu, TEST_EFFORT)
    measured.measure_compiled_tokens(report, full_musicgen, gpu, TEST_EFFORT)
    assert len(report.checks) == 4
    assert not report.broken


def test_logits_agree_with_those_of_the_cpu(full_musicgen: Path, gpu: Place, report: Report) -> None:
    measured.measure_agreement(report, full_musicgen, gpu, TEST_EFFORT)
    assert len(report.checks) == 3
    assert not report.broken


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_training_leaves_the_model_frozen(full_musicgen: Path, gpu: Place, report: Report, precision: str) -> None:
    measured.measure_steps(report, full_musicgen, gpu, TEST_EFFORT, (precision,))
    assert len(report.checks) == 3
    assert not report.broken
