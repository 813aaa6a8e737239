from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from d2m_cli.doctor.gpus import Gpu, Seen, driver_cuda, driver_version, gpu_checks, plugged_in, seen

CARD = Gpu("NVIDIA RTX 4090", 20_000_000_000, 24_000_000_000)
GOOD = Seen(1, False, 1, "580.65", (13, 0), "2.13.0", "13.0", "", (CARD,))


def last(seen: Seen):
    return list(gpu_checks(seen))[-1]


def test_a_good_gpu() -> None:
    pytorch, driver, card = gpu_checks(GOOD)
    assert (pytorch.state, pytorch.text) == ("ok", "2.13.0, built for CUDA 13.0")
    assert (driver.state, driver.text) == ("ok", "580.65, for CUDA up to 13.0")
    assert (card.name, card.state, card.text) == ("cuda:0", "ok", "NVIDIA RTX 4090, 20.0 of 24.0 GB are free")
    assert card.values == {"name": "NVIDIA RTX 4090", "free": 20_000_000_000, "total": 24_000_000_000}


def test_no_gpu_is_no_fault() -> None:
    none = replace(GOOD, plugged=0, visible=0, driver="", driver_cuda=None, gpus=())
    assert [check.state for check in gpu_checks(none)] == ["ok", "ok"]
    hidden = last(replace(none, plugged=1, hidden=True))
    assert (hidden.state, "CUDA_VISIBLE_DEVICES" in hidden.text) == ("ok", True)


def test_a_card_without_a_driver() -> None:
    check = last(replace(GOOD, visible=0, driver="", driver_cuda=None, gpus=()))
    assert (check.name, check.state) == ("driver", "warn")


def test_pytorch_for_cpus_beside_a_gpu() -> None:
    check = last(replace(GOOD, torch="2.13.0+cpu", torch_cuda="", gpus=()))
    assert (check.state, check.text) == ("warn", "this PyTorch computes on CPUs alone")


def test_a_driver_that_is_too_old() -> None:
    old = replace(GOOD, driver="535.1", driver_cuda=(12, 2), refused="RuntimeError: driver is too old", gpus=())
    check = last(old)
    assert check.state == "warn"
    assert check.text == "finds no GPU, though the driver shows 1: RuntimeError: driver is too old"
    assert check.remedy.startswith("update the NVIDIA driver to one for CUDA 13.0")
    assert "restart" in last(replace(old, driver_cuda=(13, 1))).remedy


def test_a_gpu_that_computes_nothing() -> None:
    check = last(replace(GOOD, gpus=(replace(CARD, wrong="RuntimeError: no kernel image is available"),)))
    assert (check.state, check.remedy) == ("bad", "compute on the CPU: device='cpu'")


def test_a_gpu_that_is_full() -> None:
    check = last(replace(GOOD, gpus=(replace(CARD, free=500_000_000),)))
    assert (check.state, "0.5 of 24.0 GB" in check.text) == ("warn", True)


def test_cards_that_are_plugged_in(tmp_path: Path) -> None:
    for name, vendor, kind in (
        ("a", "0x10de", "0x030000"),
        ("b", "0x10de", "0x030200"),
        ("sound of a", "0x10de", "0x040300"),
        ("other", "0x1002", "0x030000"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    assert plugged_in(tmp_path) == 2
    assert plugged_in(tmp_path / "none") == 0


def test_this_machine() -> None:
    found = seen()
    assert found.torch == torch.__version__
    assert bool(found.gpus) == (torch.cuda.is_available() and found.visible > 0)


@pytest.mark.gpu
def test_the_driver_is_asked() -> None:
    assert driver_version().split(".")[0].isdecimal()
    newest = driver_cuda()
    assert newest is not None
    assert newest >= tuple(map(int, torch.version.cuda.split(".")[:1]))
    (card, *_) = seen().gpus
    assert card.name == torch.cuda.get_device_name(0)
    assert card.wrong == ""
    assert 0 < card.free <= card.total
