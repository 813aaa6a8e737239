from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from d2m_cli.ground.background import Background
from d2m_cli.ground.interrupts import SAME_REQUEST_SECONDS, Interruptible

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = "d2m: interrupted\n"

# Says when the program listens to signals; before, they are Python's own affair.
PROGRAM = """
import os, sys
from d2m_cli.ground.interrupts import end_at_once
end_at_once()
os.write(1, b"\\n")
from d2m_cli.entry import main
main()
"""


def start(script: str, *words: str, heard: bool = True) -> subprocess.Popen[str]:
    """A Python process that has said its first line; signals reach it even where pytest runs in a background."""
    how = signal.SIG_DFL if heard else signal.SIG_IGN

    def prepare() -> None:
        for number in SIGNALS:
            signal.signal(number, how)

    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


def end(process: subprocess.Popen[str], *numbers: signal.Signals, after: float = 0.0) -> tuple[int, str]:
    for number in numbers:
        time.sleep(after)
        process.send_signal(number)
    _, told = process.communicate(timeout=60)
    return process.returncode, told


@pytest.mark.parametrize("number", SIGNALS)
def test_while_the_program_is_still_importing(number: signal.Signals) -> None:
    for milliseconds in (0, 10, 30, 60, 100):
        code, told = end(start(PROGRAM, "--help"), number, after=milliseconds / 1000)
        if code == 0:
            pytest.skip(f"help is out after {milliseconds} ms on this machine")
        assert (code, told) == (130, LINE), milliseconds


@pytest.mark.slow
def test_at_any_moment_of_a_command(make_video: Callable[..., Path], tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    for moment in range(24):
        process = start(PROGRAM, "pose", str(video), "--out", str(tmp_path / "out"))
        code, told = end(process, SIGNALS[moment % 3], after=0.05 * moment)
        # The video shows nobody, so that the command itself, once it is through, ends with 1.
        assert code == 130 or (code == 1 and "nobody" in told), (moment, code, told)
        assert "Traceback" not in told, (moment, told)
        if code == 130:
            assert told.endswith(LINE) or "interrupted; run the same command again" in told, (moment, told)
        assert not list(tmp_path.rglob("*part*")), moment


# "{told}" is told when the tidying begins.
TIDYING = """
import os, time
from d2m_cli.ground.interrupts import Interruptible
try:
    with Interruptible():
        try:
            os.write(1, b"\\n")
            time.sleep(20)
        finally:
            os.write(1, b"{told}")
            time.sleep({seconds})
            os.write(1, b"tidied")
except KeyboardInterrupt:
    os._exit(7)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_work_is_tidied_up(number: signal.Signals) -> None:
    process = start(TIDYING.format(seconds=0, told=""))
    process.send_signal(number)
    assert process.communicate(timeout=60) == ("tidied", "")
    assert process.returncode == 7


def test_a_second_request_ends_at_once() -> None:
    process = start(TIDYING.format(seconds=60, told="tidying\\n"))
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "tidying\n"
    assert end(process, signal.SIGINT, after=SAME_REQUEST_SECONDS) == (130, LINE)
    assert time.monotonic() - begun < 50


def test_two_signals_in_one_moment_are_one_request() -> None:
    process = start(TIDYING.format(seconds=0.5, told=""))
    # Stopped, it finds both waiting when it goes on, however busy the machine is.
    for number in (signal.SIGSTOP, signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
        process.send_signal(number)
    assert process.communicate(timeout=60) == ("tidied", "")
    assert process.returncode == 7


def test_what_is_ignored_stays_ignored() -> None:
    script = TIDYING.format(seconds=0, told="").replace("time.sleep(20)", "time.sleep(0.5)")
    process = start(script, heard=False)
    for number in SIGNALS:
        process.send_signal(number)
    assert process.communicate(timeout=60) == ("tidied", "")
    assert process.returncode == 0


DELETING = """
import os, threading, time
from d2m_cli.ground.interrupts import Interruptible, interrupt

class Deleted:
    def __del__(self):
        os.write(1, b"\\n")
        begun.set()
        wait(3)

def wait(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

def work():
    Deleted()
    wait(40)

def work_to_an_end():
    try:
        work()
    except KeyboardInterrupt:
        os.write(1, b"heard")

begun = threading.Event()
try:
    with Interruptible():
        if {in_thread}:
            thread = threading.Thread(target=work_to_an_end)
            thread.start()
            begun.wait()
            interrupt(thread)
            thread.join()
        else:
            work()
except KeyboardInterrupt:
    os.write(1, b"heard")
"""


@pytest.mark.parametrize("in_thread", [False, True])
def test_one_that_comes_where_it_can_not_be_passed_on_is_not_lost(in_thread: bool) -> None:
    process = start(DELETING.format(in_thread=in_thread))
    begun = time.monotonic()
    if not in_thread:
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("heard", "")
    assert time.monotonic() - begun < 30


def test_other_errors_that_can_not_be_passed_on_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_type))
    hook = sys.unraisablehook

    class Deleted:
        def __del__(self) -> None:
            raise ZeroDivisionError

    with Interruptible():
        assert sys.unraisablehook is not hook
        Deleted()
    assert told == [ZeroDivisionError]
    assert sys.unraisablehook is hook


EXTENSION = r"""
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "hasty", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_hasty(void) {
    PyObject *done = PyRun_String("__import__('os').write(1, b'\\n'), __import__('time').sleep(0.5)",
                                  Py_eval_input, PyEval_GetBuiltins(), NULL);
    if (!done) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ImportError, "initialization failed");
        return NULL;
    }
    Py_DECREF(done);
    return PyModule_Create(&module);
}
"""


def test_compiled_modules_are_loaded_whole(tmp_path: Path) -> None:
    """As many do, this one makes an ImportError of whatever is raised while it is initialised."""
    compiler, include = shutil.which("cc"), Path(sysconfig.get_paths()["include"])
    if sys.platform != "linux" or compiler is None or not (include / "Python.h").exists():
        pytest.skip("not Linux, no C compiler, or no headers of Python")
    (tmp_path / "hasty.c").write_text(EXTENSION)
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-I{include}", "hasty.c", "-o", "hasty.so"], cwd=tmp_path, check=True
    )
    script = (
        f"import os, sys, time; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from d2m_cli.ground.interrupts import Interruptible\n"
        "try:\n"
        "    with Interruptible():\n"
        "        import hasty\n"
        "        time.sleep(20)\n"
        "except KeyboardInterrupt:\n"
        "    os._exit(7)\n"
    )
    begun = time.monotonic()
    assert end(start(script), signal.SIGINT, after=0.1) == (7, "")
    assert time.monotonic() - begun < 10


def test_one_that_comes_before_a_background_thread_is_started_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_self: threading.Thread) -> None:
        raise KeyboardInterrupt

    background = Background(lambda: 1)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), background:
        background.begin()
    # Nobody waits for it.
    with pytest.raises(KeyboardInterrupt):
        background.value()
