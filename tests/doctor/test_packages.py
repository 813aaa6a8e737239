from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from d2m_cli.doctor import packages
from d2m_cli.doctor.packages import Pins, against_pins, against_requirements, against_rivals, find_pins, read_pins

PINS = Pins(Path("/d2m/constraints.txt"), {"numpy": "2.4.6", "torch": "2.13.0", "mir-eval": "0.8.2", "absent": "1"})


def test_met_requirements() -> None:
    wanted = ["numpy>=1.26", "mir_eval>=0.8", "torch>=2.6,<2.14", "h5py>=3; extra == 'test'", "x; sys_platform == 'no'"]
    (check,) = against_requirements(wanted, {"numpy": "2.4.6", "mir-eval": "0.8.2", "torch": "2.13.0+cpu"}, PINS)
    assert (check.state, check.text, check.values) == ("ok", "all 3 are met", {"count": 3})


def test_requirements_that_are_not_met() -> None:
    wanted = ["numpy>=1.26", "torch>=2.6,<2.14", "decord==0.6.0", "av>=18,<19"]
    numpy, torch, decord = against_requirements(wanted, {"torch": "2.1.0", "av": "18.1.0"}, PINS)
    assert (numpy.name, numpy.state, numpy.text) == ("numpy", "bad", "is not installed")
    assert numpy.remedy == "python -m pip install -c /d2m/constraints.txt 'numpy>=1.26'"
    assert (torch.name, torch.state) == ("torch", "warn")
    assert torch.text == "2.1.0 is installed, and d2m requires <2.14,>=2.6"
    assert (decord.state, decord.text) == ("warn", "is not installed; making music does without")


def test_a_missing_package_is_found_among_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there = packages.installed()
    assert there["numpy"] == metadata.version("numpy")
    monkeypatch.setattr(packages, "installed", lambda: {name: there[name] for name in there if name != "librosa"})
    monkeypatch.setattr(metadata, "requires", lambda name: ["librosa>=0.10", "numpy>=1"])
    bad = [check for check in packages.look() if check.state == "bad"]
    assert [(check.name, check.text) for check in bad] == [("librosa", "is not installed")]


def test_d2m_itself_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", nothing)
    found = {check.name: check for check in packages.look()}
    assert (found["requirements"].state, found["requirements"].remedy) == ("warn", "python -m pip install .")


def test_pinned_versions() -> None:
    text = "# a set\nnumpy==2.4.6\nmir_eval==0.8.2  # beats\n\nonnxruntime-gpu==1.31.1\nloose>=3\n"
    assert read_pins(text) == {"numpy": "2.4.6", "mir-eval": "0.8.2", "onnxruntime-gpu": "1.31.1"}


def test_those_of_the_checkout_are_found() -> None:
    pins = find_pins()
    assert pins is not None
    assert pins.path.name == "constraints.txt"
    assert "numpy" in pins.versions
    assert len(pins.versions) > 50


def test_those_of_a_wheel_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "d2m-9.dist-info"
    (inside / "extra_metadata").mkdir(parents=True)
    (inside / "METADATA").write_text("Metadata-Version: 2.4\nName: d2m\nVersion: 9\n")
    (inside / "RECORD").write_text("d2m-9.dist-info/METADATA,,\nd2m-9.dist-info/extra_metadata/constraints.txt,,\n")
    (inside / "extra_metadata" / "constraints.txt").write_text("numpy==1.0\n")
    monkeypatch.setattr(packages, "__file__", str(tmp_path / "d2m_cli" / "doctor" / "packages.py"))
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.PathDistribution(inside))
    pins = find_pins()
    assert pins is not None
    assert (pins.path, pins.versions) == (inside / "extra_metadata" / "constraints.txt", {"numpy": "1.0"})
    (inside / "extra_metadata" / "constraints.txt").unlink()
    assert find_pins() is None


def test_others_than_pinned_are_named_and_no_fault() -> None:
    same = against_pins({"numpy": "2.4.6", "torch": "2.13.0+cpu", "unpinned": "1"}, PINS)
    assert (same.state, same.text) == ("ok", "all 2 that are installed are as in constraints.txt")
    other = against_pins({"numpy": "2.0.0", "torch": "2.13.0"}, PINS)
    assert (other.state, other.values["others"]) == ("ok", {"numpy": "2.0.0"})
    assert other.text == "1 of 2 differ from constraints.txt: numpy 2.0.0 (not 2.4.6)"
    assert "not here" in against_pins({"numpy": "2.0.0"}, None).text


def test_packages_that_overwrite_each_other() -> None:
    assert list(against_rivals({"onnxruntime-gpu": "1", "opencv-python-headless": "4"})) == []
    (check,) = against_rivals({"onnxruntime-gpu": "1", "onnxruntime": "1"})
    assert check.state == "warn"
    assert check.remedy.endswith("pip install onnxruntime-gpu")
