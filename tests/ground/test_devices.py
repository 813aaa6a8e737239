from __future__ import annotations

from typing import Any

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.devices import check_device_name, gpu_memory, gpu_number, names_gpu, refuse_absent


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


def test_memory_is_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        """Two GPUs, of which the second has 80 GiB."""

        def cuInit(self, flags: int) -> int:
            return 0

        def cuDeviceGet(self, device: Any, number: int) -> int:
            device._obj.value = 40 + number
            return 0 if number < 2 else 101

        def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
            size._obj.value = {40: 24, 41: 80}[device.value] * 2**30
            return 0

    monkeypatch.setattr("ctypes.CDLL", lambda name: Driver())
    assert [gpu_memory(number) for number in range(3)] == [24 * 2**30, 80 * 2**30, 0]

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert gpu_memory(0) == 0
