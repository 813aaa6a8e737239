"""Ctrl-C, and the signals by which systems end programs: all come as KeyboardInterrupt, and none leaves a traceback.

Nothing is imported here that takes time: the first moments of a program count too.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread
    from types import FrameType
    from typing import Any

EXIT_CODE = 130
"""Of a program that was interrupted, by whichever signal."""
SAME_REQUEST_SECONDS = 0.25
"""Signals this soon after one another are one request: a terminal that closes, and many launchers, send two."""

_AGAIN_SECONDS = 0.02
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def end_at_once() -> None:
    """From now on such a signal ends the process with one line: right while nothing is begun that needs an end.

    Signals that are ignored stay so: a shell's background jobs take no Ctrl-C, and ``nohup`` no hang-up.
    """
    _handle(_leave)


def forget_interrupts() -> None:
    """Let the exit code be that of the program.

    CPython notes when KeyboardInterrupt leaves an ``exec`` or ``eval`` of text, as in the making of a dataclass, and
    then ends the process by SIGINT in place of its exit code, though the exception was handled since. Evaluating text
    again clears the note.
    """
    exec("")


class Interruptible:
    """Within this context the first such signal raises KeyboardInterrupt in the main thread, so that work ends tidily.

    A second one, while that tidying goes on, ends the process at once; files that are half written then stay behind
    under their temporary names. Outside the main thread nothing is changed.

    While a compiled module is being loaded the exception waits until it is: many turn it into an ImportError, or lose
    it. Where it comes in code that can't pass it on, as when a library's C code calls Python or an object is deleted,
    Python would print it as ignored and go on; it is raised again behind that, in this and in all other threads.
    """

    def __init__(self) -> None:
        self._asked: float | None = None
        self._before: dict[int, Any] = {}
        self._hook_before: Any = None

    def __enter__(self) -> None:
        self._before = _handle(self._interrupt)
        if self._before:
            self._hook_before, sys.unraisablehook = sys.unraisablehook, self._raise_again

    def __exit__(self, *_error: object) -> None:
        if self._before:
            sys.unraisablehook = self._hook_before
        if self._asked is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            # Not at once: others that wait would be handled when the tidying ends, and pass for second requests.
            if not self._later():
                self._raise(number, frame)
        elif now - self._asked > SAME_REQUEST_SECONDS:
            _leave(number, frame)

    def _raise(self, _number: int, frame: FrameType | None) -> None:
        if not (_loads_compiled_module(frame) and self._later()):
            raise KeyboardInterrupt

    def _raise_again(self, lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is None or not issubclass(lost.exc_type, KeyboardInterrupt):
            self._hook_before(lost)
            return
        import threading

        thread = threading.current_thread()
        # From another thread: raised here, it would be lost in this very hook.
        if thread is not threading.main_thread() or not self._later():
            threading.Timer(_AGAIN_SECONDS, interrupt, [thread]).start()

    def _later(self) -> bool:
        if not hasattr(signal, "setitimer"):
            return False
        signal.signal(signal.SIGALRM, self._raise)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        return True


def interrupt(thread: Thread) -> None:
    """Raise KeyboardInterrupt in another thread, as the keyboard does in the main thread; it need not be alive.

    It comes between two steps of Python: a call of a library that is under way is finished first, and so is the loading
    of a compiled module.
    """
    import ctypes

    while thread.ident is not None and thread.is_alive():
        if _loads_compiled_module(sys._current_frames().get(thread.ident)):
            time.sleep(_AGAIN_SECONDS)
            continue
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
        return


def _loads_compiled_module(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") and code.co_qualname.startswith("ExtensionFileLoader."):
            return True
        frame = frame.f_back
    return False


def _handle(handler: Any) -> dict[int, Any]:
    """Set a handler for all signals that are not ignored; returns those before."""
    before: dict[int, Any] = {}
    for number in _SIGNALS:
        current = signal.getsignal(number)
        if current is signal.SIG_IGN or current is None:
            continue
        try:
            signal.signal(number, handler)
        except ValueError:  # not in the main thread: whoever runs this there handles signals
            return {}
        before[number] = current
    return before


def _leave(_number: int, _frame: FrameType | None) -> None:
    try:
        os.write(2, b"d2m: interrupted\n")
    finally:
        os._exit(EXIT_CODE)
