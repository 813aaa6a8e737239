"""librosa imported by several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock, Timeout

from d2m_cli.ground import compiled
from d2m_cli.ground.compiled import librosa_with


def test_what_compiles_is_imported_under_a_lock_that_is_let_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setattr(compiled, "_ALWAYS", ("librosa.not_there",))
    lock = tmp_path / "numba" / ".d2m-compiling.lock"
    seen: list[tuple[str, bool]] = []

    def import_module(name: str) -> Any:
        try:
            with FileLock(lock, timeout=0):
                seen.append((name, False))
        except Timeout:
            seen.append((name, True))

    monkeypatch.setattr(compiled, "import_module", import_module)
    librosa_with("nor_this")
    assert seen == [("librosa.not_there", True), ("librosa.nor_this", True), ("librosa", False)]


def test_who_holds_the_lock_for_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "_ALWAYS", ("librosa.not_there",))
    monkeypatch.setattr(compiled, "PATIENCE", 0.1)
    imported: list[str] = []
    monkeypatch.setattr(compiled, "import_module", imported.append)
    with FileLock(tmp_path / ".d2m-compiling.lock"):
        librosa_with()
    assert imported == ["librosa.not_there", "librosa"]


def test_what_is_imported_already_needs_no_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    librosa_with("beat")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = librosa_with("beat")
    assert found.beat.beat_track
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_all_that_is_compiled_of_librosa_is_kept_and_nothing_else() -> None:
    program = (
        "import numba; from pathlib import Path; from d2m_cli.ground import compiled\n"
        "own = numba.guvectorize\n"
        "compiled.librosa_with('beat')\n"
        "kept = list(compiled.compiled_folder().rglob('*beat_local_score*.nbc'))\n"
        "print(len(kept) > 0, numba.guvectorize is own)\n"
        "with compiled._all_kept():\n"
        "    # It can't be kept: there is no file of it.\n"
        "    twice = numba.guvectorize(['void(f8[:], f8[:])'], '(n)->(n)')(eval('lambda x, out: None'))\n"
        "print(type(twice).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["True", "True", "GUFunc"], done.stderr


@pytest.mark.slow
def test_three_that_compile_for_the_first_time_hear_the_same_beats(tmp_path: Path) -> None:
    program = (
        "import numpy as np; from d2m_cli.ground.audio_beats import track_beats; "
        "clicks = np.zeros((1, 96000), np.float32); clicks[:, 6000::12000] = 1.0; print(track_beats(clicks, 24000))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [one.communicate(timeout=300)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    assert len(set(told)) == 1
    assert len(list(tmp_path.rglob("*beat_local_score*.nbc"))) > 0
    beats = np.array([float(word) for word in told[0].strip("[]\n ").split()])
    np.testing.assert_allclose(beats, 0.25 + 0.5 * np.arange(8), atol=0.05)
