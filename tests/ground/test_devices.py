from __future__ import annotations

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.devices import check_device_name, gpu_number, names_gpu, refuse_absent


@pytest.mark.parametrize(
    ("name", "gpu", "number"),
    [("auto", False, 0), ("cpu", False, 0), ("cuda", True, 0), ("cuda:0", True, 0), ("cuda:13", True, 13)],
)
def test_names_of_devices(name: str, gpu: bool, number: int) -> None:
    check_device_name(name)
    assert (names_gpu(name), gpu_number(name)) == (gpu, number)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "cuda1", "cpu:0", "cudax"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="device must be auto, cpu, cuda, or cuda:1 of several, not"):
        check_device_name(name)


def test_a_gpu_that_is_not_here_is_told_with_those_that_are() -> None:
    for name, count in (("cpu", 0), ("auto", 0), ("cuda", 1), ("cuda:1", 2)):
        refuse_absent(name, count)
    with pytest.raises(UsageError, match=r"^device='cuda:2': there is no such GPU; here are cuda:0, cuda:1$"):
        refuse_absent("cuda:2", 2)
    with pytest.raises(UsageError, match=r"^device='cuda:1': there is no such GPU; here is cuda:0$"):
        refuse_absent("cuda:1", 1)
    with pytest.raises(UsageError, match=r"^device='cuda': no NVIDIA GPU is visible here; use device='cpu' or auto$"):
        refuse_absent("cuda", 0)
