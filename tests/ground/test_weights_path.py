from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import d2m_cli
from d2m_cli.ground.weights_path import data_home, weights_dir

PACKAGE = Path(d2m_cli.__file__).resolve().parent


def ask(folder: Path) -> subprocess.CompletedProcess[str]:
    """Where a copy of the package that lies elsewhere finds its weights."""
    script = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); "
        "import d2m_cli.ground.weights_path as w; print(w.weights_dir())"
    )
    return subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=folder, check=False)


def copy_package(folder: Path) -> Path:
    package = folder / "d2m_cli"
    package.mkdir(parents=True)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(PACKAGE / name, package)
    shutil.copytree(PACKAGE / "ground", package / "ground", ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_in_this_checkout_or_installation() -> None:
    assert (weights_dir() / "manifest.json").is_file()


def test_a_checkout_has_them_beside_and_a_wheel_inside(tmp_path: Path) -> None:
    package = copy_package(tmp_path / "site")
    (tmp_path / "site" / "weights").mkdir()
    assert ask(tmp_path / "site").stdout.strip() == str(tmp_path / "site" / "weights")
    (package / "_weights").mkdir()
    assert ask(tmp_path / "site").stdout.strip() == str(package / "_weights")


def test_a_package_without_weights_says_so(tmp_path: Path) -> None:
    copy_package(tmp_path / "site")
    answer = ask(tmp_path / "site")
    assert answer.returncode != 0
    assert "install d2m again" in answer.stderr


def test_home_of_a_users_own_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("D2M_HOME", raising=False)
    assert data_home() == tmp_path / ".local" / "share" / "d2m"
    monkeypatch.setenv("D2M_HOME", str(tmp_path / "own"))
    assert data_home() == tmp_path / "own"


def test_a_user_number_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("D2M_HOME", raising=False)
    assert not (data_home() / "weights").exists()
