from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.doctor import libraries
from d2m_cli.doctor.check import Check
from d2m_cli.doctor.packages import canonical, installed


def test_each_module_belongs_to_a_package_that_is_required() -> None:
    here = installed()
    for package in libraries.MODULES.values():
        assert canonical(libraries.package_of(package)) in here, package


def test_good_and_broken_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sound_one.py").write_text("")
    (tmp_path / "broken_one.py").write_text("raise ImportError('libfoo.so.1: undefined symbol: bar')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(libraries, "installed", lambda: {"sound": "1", "broken-gpu": "1"})
    monkeypatch.setattr(libraries, "MODULES", {"sound_one": "sound", "gone": "gone"})
    at, good = libraries.look()
    assert (at, good.state) == ("sound_one", "ok")
    monkeypatch.setattr(libraries, "MODULES", {"sound_one": "sound", "broken_one": "broken"})
    (bad,) = [one for one in libraries.look() if isinstance(one, Check)]
    assert (bad.name, bad.state) == ("broken_one", "bad")
    assert bad.text.startswith("ImportError: libfoo.so.1: undefined symbol: bar")
    assert bad.remedy.startswith("python -m pip install --force-reinstall -c ")
    assert bad.remedy.endswith("constraints.txt broken-gpu")
