"""What libraries find around them: no telemetry, and folders that they can write to.

Libraries read these environment variables when they are first imported, so they are set before: `settle_libraries` by
``import d2m_cli`` itself, `settle_program` where d2m is a program of its own and not a guest in somebody's notebook.
Nothing is imported here that takes time.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from d2m_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_NUMBA, _MATPLOTLIB, _CACHE = "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_TURNS = "1000"
"""Some 30 microseconds, in which one layer of a network follows on another; libgomp's own 300,000 take CPU time from
whoever shares the cores, several times what the work takes."""
_BLAS = "OPENBLAS_NUM_THREADS"
"""Of NumPy and SciPy, whose products are small here: a second thread waits for the next one by turning round."""


def settle_libraries() -> None:
    """Switch telemetry off, and give compiled code a folder where there is none to write to.

    ONNX Runtime from 1.29 on writes an identifier of the machine below the home folder and reports sessions to its
    makers, from its import on; ``ORT_DISABLE_TELEMETRY`` alone prevents both, in child processes too. Another value
    that it has is replaced: the network belongs to ``d2m weights pull``.

    Numba, with which librosa compiles, can't be imported where it can write neither beside librosa nor to the user's
    cache. It is then given a private temporary folder, which goes when this process ends; so is Matplotlib, which
    would make one itself and say so on stderr. A process without any home folder, as in containers that run under a
    bare user number, has its whole cache there, since librosa asks where that is. Folders chosen by
    ``NUMBA_CACHE_DIR`` and ``MPLCONFIGDIR`` stay where they can be written to.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    wanting = [name for name, there in _cache_folders().items() if not there]
    if not wanting:
        return
    import tempfile
    from atexit import register

    try:
        private = tempfile.mkdtemp(prefix="d2m-")
    except OSError:
        return  # nowhere at all: `check_folders` tells it when a command begins; help can be shown all the same
    register(_remove_own, private, os.getpid())
    for name in wanting:
        os.environ[name] = os.path.join(private, name.lower())
        os.mkdir(os.environ[name])


def settle_program(words: list[str]) -> None:
    """Set what only a program of its own may set for its whole process.

    Hugging Face's libraries stay off the network unless weights are pulled. Matplotlib takes the backend that draws to
    files whatever ``MPLBACKEND`` says: that of a notebook can't be loaded outside of it. PyTorch's threads, which
    would turn round for milliseconds before they sleep, give cores up at once that others may want, unless
    ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` says how they are to wait; NumPy works with one thread, unless
    ``OPENBLAS_NUM_THREADS`` says with how many.

    Parameters
    ----------
    words
        The command line without the program's name.
    """
    if [word for word in words if not word.startswith("-")][:2] != ["weights", "pull"]:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["MPLBACKEND"] = "agg"
    os.environ.update(thread_variables())


def thread_variables() -> dict[str, str]:
    """Variables that say how threads wait and how many NumPy has: what the user says, and the rest as d2m wants it."""
    wanted = {_BLAS: "1"} if any(name in os.environ for name in _WAITING) else {_BLAS: "1", "GOMP_SPINCOUNT": _TURNS}
    said = {name: os.environ[name] for name in (_BLAS, *_WAITING) if name in os.environ}
    return wanted | said


def check_folders() -> None:
    """Refuse to begin where compiled code has no folder to lie in.

    Raises
    ------
    UsageError
        Neither librosa's folder, nor the user's cache, nor any temporary folder can be written to.
    """
    if not _cache_folders()[_NUMBA]:
        raise UsageError(
            "no folder for temporary files can be written to, neither $TMPDIR nor /tmp nor the current one: "
            "set TMPDIR to one that can"
        )


def fill_closed_streams() -> None:
    """Open what was closed of stdin, stdout and stderr on nothing, before a file takes its number.

    Libraries print to those numbers: their words would end up in the first result that is opened. Where stderr was
    closed, ``sys.stderr`` is None, and ``print(file=None)`` writes to stdout; so it gets a stream. Where stdout was
    closed, ``sys.stdout`` stays None.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


def _cache_folders() -> dict[str, bool]:
    """Variable that names a folder to whether the libraries that ask for it have one as things are."""
    home = os.path.expanduser("~")
    cache = _user_cache()
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    own = {name: _writable(os.environ.get(name, "")) for name in (_NUMBA, _MATPLOTLIB)}
    both = [_writable(os.path.join(folder, "matplotlib")) for folder in (cache, config)]
    return {
        # Where librosa lies is looked for last: that takes time at every start.
        _NUMBA: own[_NUMBA] or _writable(os.path.join(cache, "numba")) or _writable(_beside_librosa()),
        _MATPLOTLIB: own[_MATPLOTLIB] or all(both),
        _CACHE: os.path.isabs(cache),
    }


def compiled_folder() -> Path | None:
    """Folder in which Numba keeps what it compiles of librosa, made if it was not there; None where there is none."""
    from pathlib import Path

    # In the order in which Numba looks at them.
    for folder in (os.environ.get(_NUMBA, ""), _beside_librosa(), os.path.join(_user_cache(), "numba")):
        if _writable(folder):
            os.makedirs(folder, exist_ok=True)
            return Path(folder)
    return None


def _user_cache() -> str:
    return os.environ.get(_CACHE) or os.path.join(os.path.expanduser("~"), ".cache")


def _beside_librosa() -> str:
    from importlib.util import find_spec

    found = find_spec("librosa")
    return os.path.join(os.path.dirname(found.origin), "__pycache__") if found and found.origin else ""


def _writable(folder: str) -> bool:
    """Whether a folder can be written to, or made where it is not there."""
    if not os.path.isabs(folder):
        return False  # not named; or below a home that nobody knows, which stays "~"
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _remove_own(folder: str, process: int) -> None:
    from shutil import rmtree

    # A forked child runs this too when it ends, and its parent still needs the folder.
    if os.getpid() == process:
        rmtree(folder, ignore_errors=True)
