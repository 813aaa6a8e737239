"""Processes that compute beside this one: for work that is so much Python that threads would only take turns.

Those of `multiprocessing` first import their parent's main module, for which a script or a notebook has to be written.
These import no more than what they are to call. None outlives its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from d2m_cli.errors import D2MError, InputError, UsageError
from d2m_cli.ground.interrupts import interrupt
from d2m_cli.ground.options import flags_are_told, tell_flags
from d2m_cli.ground.spread import spread

A = TypeVar("A")
B = TypeVar("B")

PATIENCE = 5.0
"""Seconds in which a process that is told to end lets go of what it is at."""
SEPARATE = bool(sys.executable) and not getattr(sys, "frozen", False)
"""Whether there is a Python to start: in a frozen program there is none."""

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from d2m_cli.ground.workers import serve; serve(json.loads(sys.argv[2]))"
)
_ONE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class LostError(InputError):
    """The process that worked on an input is gone."""


class Workers:
    """Processes, each on one core.

    As a context manager it ends them, whatever they are at.

    Parameters
    ----------
    count
        How many at most; each starts when there is a job for it. With 1, and in a frozen program, jobs are done in the
        thread that asks for what comes of them.
    """

    def __init__(self, count: int) -> None:
        self._count = count if SEPARATE else 1
        self._threads = ThreadPoolExecutor(self._count, "d2m-workers")
        self._own = threading.local()
        self._guard, self._over = threading.Lock(), False
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._guard:
            self._over = True
        for process in self._started:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
        last = time.monotonic() + PATIENCE
        for process in self._started:
            try:
                process.wait(max(last - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._threads.shutdown(cancel_futures=True)
        for process in self._started:
            assert process.stdout is not None
            process.stdout.close()

    def each(self, do: Callable[[A], B], jobs: Iterable[A]) -> Iterator[B | InputError]:
        """What a function returns for each job, in the order of the jobs; or why a job can't be done.

        Parameters
        ----------
        do
            A function of a module; it, jobs and what it returns are pickled.
        jobs
            Taken in the calling thread, no more than two for each process ahead of the results.

        Raises
        ------
        UsageError
            No process can be started.
        Exception
            What the function raises besides `InputError`.
        """
        if self._count == 1:
            for job in jobs:
                try:
                    result: B | InputError = do(job)
                except InputError as error:
                    result = error
                yield result
            return
        yield from spread(self._threads, lambda job: self._ask(do, job), jobs, 2 * self._count)

    def _ask(self, do: Callable[[A], B], job: A) -> B | InputError:
        """What the process of this thread makes of a job."""
        process = getattr(self._own, "process", None) or self._start()
        self._own.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        text = pickle.dumps((do, job))
        try:
            process.stdin.write(text)
            process.stdin.flush()
            failed, value = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):  # ValueError: closed by `__exit__`
            self._own.process = None
            return LostError(f"the process that worked on it {_ending(process)}")
        if failed and not isinstance(value, InputError):
            raise value
        return value  # type: ignore[no-any-return]

    def _start(self) -> subprocess.Popen[bytes]:
        # A notebook may have put paths there, which imports pass over as well.
        places = [place for place in sys.path if isinstance(place, str)]
        with self._guard:
            if self._over:
                raise LostError("all was ended before its turn came")
            try:
                process = subprocess.Popen(
                    # -P: nothing is imported from the folder one stands in before the parent's own places are set.
                    [sys.executable, "-P", "-c", _START, json.dumps(places), json.dumps(flags_are_told())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, **_ONE_CORE},
                    # An interrupt from the keyboard is this process's to handle.
                    start_new_session=True,
                )
            except OSError as error:
                raise UsageError(f"no process that computes can be started: {error.strerror or error}") from error
            self._started.append(process)
        assert process.stdout is not None
        try:
            pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise UsageError(f"a process that computes can't start: it {_ending(process)}") from error
        return process


def _ending(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return "does not answer"
    if code >= 0:
        return f"ended with {code}"
    want = ", most likely for want of memory" if code == -signal.SIGKILL else ""
    return f"was stopped by {signal.Signals(-code).name}{want}"


def serve(flags: bool) -> None:
    """Do jobs until there are no more to come; runs in the process that `Workers` starts.

    Parameters
    ----------
    flags
        Whether errors name options as flags.
    """
    # They come to all processes of a job or a terminal, and the parent's end is this one's.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # What libraries print, also from C, is not to come between.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    tell_flags(flags)
    jobs: SimpleQueue[Any] = SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_take, args=(jobs, busy, threading.current_thread()), daemon=True).start()
    try:
        with suppress(KeyboardInterrupt, BrokenPipeError):
            _tell(answers, pickle.dumps(None))
            while (job := jobs.get()) is not None:
                busy.set()
                _tell(answers, _done(job))
                busy.clear()
    finally:
        # At once: an interrupt that comes only now has nothing to tell.
        os._exit(0)


def _take(jobs: SimpleQueue[Any], busy: threading.Event, worker: threading.Thread) -> None:
    """Take jobs in, so that the parent's end is noticed while one is worked on."""
    while True:
        try:
            jobs.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            jobs.put(None)
            if busy.is_set():
                interrupt(worker)
            return
        except Exception as error:
            jobs.put(error)


def _done(job: Any) -> bytes:
    """Pickled: whether a job failed, and what it returned or raised."""
    try:
        if isinstance(job, Exception):
            raise job
        do, given = job
        return pickle.dumps((False, do(given)))
    except Exception as error:
        if not isinstance(error, D2MError):
            error.add_note(traceback.format_exc())
        try:
            told = pickle.dumps((True, error))
            pickle.loads(told)
        except Exception:
            plain = RuntimeError(repr(error))
            plain.add_note(traceback.format_exc())
            return pickle.dumps((True, plain))
        return told


def _tell(answers: Any, text: bytes) -> None:
    answers.write(text)
    answers.flush()
