"""librosa, imported so that several processes may do it at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import import_module
from typing import Any

from d2m_cli.ground.surroundings import compiled_folder

_ALWAYS = ("librosa.util.utils", "librosa.core.audio", "librosa.core.pitch")
"""What all uses come to, and what compiles when it is imported."""
PATIENCE = 300.0
"""Seconds to wait for another process to compile; then it is done beside it all the same."""


def librosa_with(part: str = "") -> Any:
    """librosa, with a part of it, such as "beat", imported.

    Numba compiles functions of librosa while that is imported, and keeps them in files. A process that reads them while
    another writes them for the first time may crash (two runs that begin together after an installation, or tasks of an
    array); so they are imported by one process after the other. What librosa would have compiled each time anew, two
    seconds of the beat tracker's import, is kept as well.
    """
    wanted = [name for name in (*_ALWAYS, *([f"librosa.{part}"] if part else [])) if name not in sys.modules]
    if wanted:
        from filelock import FileLock, Timeout

        with ExitStack() as stack:
            folder = compiled_folder()
            if folder is not None:
                # Some network drives know no locks, and a process that hangs must not stop all others.
                with suppress(OSError, NotImplementedError, Timeout):
                    stack.enter_context(FileLock(folder / ".d2m-compiling.lock", timeout=PATIENCE))
            with _all_kept() if folder is not None else nullcontext():
                for name in wanted:
                    import_module(name)
    return import_module("librosa")


@contextmanager
def _all_kept() -> Iterator[None]:
    """Let Numba keep what it compiles of librosa, also where librosa doesn't ask for it."""
    import numba

    guvectorize: Any = numba.guvectorize

    def keeping(*given: Any, **named: Any) -> Callable[[Any], Any]:
        def compiled(function: Any) -> Any:
            ours = function.__module__.partition(".")[0] == "librosa"
            return guvectorize(*given, **(named | {"cache": True} if ours else named))(function)

        return compiled

    numba.guvectorize = keeping
    try:
        yield
    finally:
        numba.guvectorize = guvectorize
