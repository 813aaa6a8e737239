"""The models at full size, made once for all tests here and taken away afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.report import Place, Report, describe


@pytest.fixture(scope="session")
def gpu() -> Place:
    """The CUDA device."""
    return Place("cuda")


@pytest.fixture
def report(gpu: Place) -> Report:
    """An empty report."""
    return Report(describe(gpu))


@pytest.fixture(scope="session")
def full_musicgen(gpu: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model in musicgen-small's layout and size."""
    from tests.gpu.full_size import save_full_musicgen

    return save_full_musicgen(tmp_path_factory.mktemp("full-musicgen"), "full", gpu.device)


@pytest.fixture(scope="session")
def full_riffusion(gpu: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model in riffusion-model-v1's layout and size."""
    from tests.gpu.full_size import save_full_riffusion

    return save_full_riffusion(tmp_path_factory.mktemp("full-riffusion"), "full", gpu.device)


@pytest.fixture(scope="session")
def full_hrnet(gpu: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HRNet-W32 as an ONNX file."""
    from tests.gpu.full_size import save_hrnet

    return save_hrnet(tmp_path_factory.mktemp("full-hrnet") / "hrnet.onnx")
