from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from d2m_cli.doctor.apart import look_apart
from d2m_cli.doctor.check import Check

Look = Callable[..., list[Check]]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """A function that has `look` of a module with these lines looked for in another process."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(body: str, *given: object, seconds: float = 60.0) -> list[Check]:
        lines = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
        text = f"import os, sys, time, signal\nfrom d2m_cli.doctor.check import Check\ndef look(*given):\n{lines}\n"
        (tmp_path / "looked_at.py").write_text(text)
        return list(look_apart("looked_at", "group", seconds, "mend it", *given))

    return run


def test_checks_come_as_they_are(look: Look) -> None:
    found = look(
        """
        yield "first"
        yield Check("g", "n", "warn", "é\\n" + given[0], "r", {"a": [1, None]})
        """,
        "text",
    )
    assert found == [Check("g", "n", "warn", "é\ntext", "r", {"a": [1, None]})]


def test_what_libraries_print_does_not_come_between(look: Look) -> None:
    found = look(
        """
        print("noise")
        os.write(1, b"more noise")
        os.system("echo from another process")
        yield Check("g", "n", "ok", "t")
        """
    )
    assert found == [Check("g", "n", "ok", "t")]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_crash_is_a_finding_and_what_came_before_stays(look: Look) -> None:
    found = look(
        """
        yield Check("g", "n", "ok", "t")
        yield "torch"
        print("undefined symbol", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        yield Check("g", "never", "ok", "t")
        """
    )
    assert [one.name for one in found] == ["n", "torch"]
    assert found[1] == Check(
        "group", "torch", "bad", "crashes (SIGSEGV): undefined symbol", "mend it", {"exit_code": -11}
    )


def test_an_end_before_the_end_is_a_crash(look: Look) -> None:
    (found,) = look("yield 'av'\nos._exit(0)")
    assert (found.name, found.state, found.text) == ("av", "bad", "crashes (exit code 0)")


def test_a_module_that_cannot_be_loaded_is_a_finding(look: Look) -> None:
    (found,) = look("yield 'numpy'\nimport no_such_module_anywhere")
    assert found.name == "numpy"
    assert "No module named 'no_such_module_anywhere'" in found.text


@pytest.mark.slow
def test_a_hang_is_ended_with_all_that_it_started(look: Look, tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    begun = time.monotonic()
    found = look(
        """
        import subprocess
        yield "onnxruntime"
        subprocess.Popen([sys.executable, "-c", "import sys, time; time.sleep(8); open(sys.argv[1], 'w')", given[0]])
        time.sleep(100)
        """,
        str(mark),
        seconds=4.0,
    )
    assert time.monotonic() - begun < 30
    assert found == [
        Check("group", "onnxruntime", "bad", "hangs: nothing came of it in 4 s", "mend it", {"seconds": 4.0})
    ]
    time.sleep(max(0.0, begun + 15 - time.monotonic()))
    assert not mark.exists()
