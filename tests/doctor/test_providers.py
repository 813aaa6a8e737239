from __future__ import annotations

import sys

import onnxruntime
import pytest

from d2m_cli.doctor import providers
from d2m_cli.doctor.check import Check
from d2m_cli.doctor.providers import CPU, cpu_check, cuda_check, missing_library, runtime_check
from d2m_cli.errors import UsageError
from d2m_cli.pose.session import CUDA


def checks() -> dict[str, Check]:
    return {one.name: one for one in providers.look() if isinstance(one, Check)}


def test_the_cpu_computes() -> None:
    check = cpu_check()
    assert check.state == "ok"
    assert 0.0 < check.values["seconds"] < 60.0


def test_what_the_runtime_says_of_itself() -> None:
    check = runtime_check()
    assert check.values["version"] == onnxruntime.__version__
    assert check.values["providers"] == onnxruntime.get_available_providers()


def test_a_network_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise UsageError("movenet-thunder.onnx.gz is missing")

    monkeypatch.setattr(providers, "pose_weights", gone)
    found = checks()[CPU]
    assert (found.state, found.text) == ("bad", "movenet-thunder.onnx.gz is missing")


def test_without_a_gpu_cuda_is_not_tried() -> None:
    assert cuda_check(0).state == "ok"


def test_a_runtime_for_cpus_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    check = cuda_check(1)
    assert check.state == "warn"
    assert check.remedy.endswith("onnxruntime-gpu")


def test_cuda_that_is_listed_and_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: str) -> float:
        raise UsageError("ONNX Runtime runs it on CPUExecutionProvider here")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(providers, "run", refuse)
    monkeypatch.setattr(providers, "missing_library", lambda: "libcudnn.so.9: cannot open shared object file")
    check = cuda_check(1)
    assert (check.state, check.values) == ("warn", {"missing": "libcudnn.so.9: cannot open shared object file"})
    assert "libcudnn.so.9" in check.text
    assert check.remedy == "python -m pip install 'onnxruntime-gpu[cuda,cudnn]'"
    monkeypatch.setattr(providers, "missing_library", lambda: "")
    assert cuda_check(1).remedy == "update the NVIDIA driver"


def test_cuda_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(providers, "run", lambda device: {"cuda": 0.25}[device])
    assert (cuda_check(1).state, cuda_check(1).values) == ("ok", {"seconds": 0.25})


@pytest.mark.skipif(sys.platform != "linux", reason="libraries are named otherwise")
def test_the_missing_library_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    assert missing_library() == f"{tmp_path}/capi/libonnxruntime_providers_shared.so: cannot open shared object file"
