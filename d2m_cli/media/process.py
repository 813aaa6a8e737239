"""Processes that read media files for this one: a crash, a hang or a hunger for memory in them costs one file.

A process is started for the first file, kept for the next ones, and replaced where it had to be given up. Where the
system can't hand memory from one process to another (Windows), files are read in this process.
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from d2m_cli import errors
from d2m_cli.errors import D2MError, UsageError, VideoError
from d2m_cli.ground.cores import cores
from d2m_cli.media.messages import Message, receive, send, shared_memory

PATIENCE = 30.0
"""Seconds without a new picture, or another sign of life, before a file is given up."""
START = 120.0
"""Seconds in which a process starts, also from a slow disk."""
SLIM = 600_000_000
"""Bytes of its own with which a process is still kept: files leave pieces behind, which count against its limit."""
KEPT = 2
"""Idle processes that are kept."""

SEPARATE = hasattr(socket, "send_fds") and bool(sys.executable) and not getattr(sys, "frozen", False)
"""Whether files are read in processes of their own: in a frozen program there is no Python to start."""

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from d2m_cli.media.worker import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)


class BrokenError(VideoError):
    """The process that read a file crashed, hung or ran out of memory."""


class MemoryLackError(BrokenError):
    """It ran out of memory, which need not be the file's fault: another time there may be enough."""


class MediaProcess:
    """One process, and what it is asked.

    Use `media_process`, which keeps some.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._shared: mmap.mmap | None = None
        # What it prints: a file without a name, also where no folder can be written to.
        self._words: IO[bytes] = os.fdopen(shared_memory(0), "w+b")
        mine, theirs = socket.socketpair()
        life, self._life = os.pipe()
        self._link = mine
        environment = {
            **os.environ,
            # Pictures are decoded by threads of the decoder's own; numpy's would only stand beside them.
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OMP_NUM_THREADS": str(cores()),
        }
        # A notebook may have put paths there, which imports pass over as well.
        places = [place for place in sys.path if isinstance(place, str)]
        arguments = [json.dumps(places), str(theirs.fileno()), str(life)]
        try:
            self._process = subprocess.Popen(
                # -P: nothing is imported from the folder one stands in before the parent's own places are set.
                [sys.executable, "-P", "-c", _START, *arguments],
                pass_fds=(theirs.fileno(), life),
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                env=environment,
                # An interrupt from the keyboard is this process's to handle.
                start_new_session=True,
            )
        except OSError as error:
            self._close_handles()
            raise UsageError(f"no process that reads media files can be started: {error.strerror or error}") from error
        finally:
            theirs.close()
            os.close(life)
        try:
            self._wait_for_start()
        except BaseException:
            self.close()
            raise

    def _wait_for_start(self) -> None:
        global _started
        self._link.settimeout(START)
        try:
            receive(self._link)
        except (EOFError, OSError) as error:
            why = f"the process that reads media files can't start: {self._ending()}"
            # At first every file would meet the same, an installation that is not whole; later the machine is short.
            raise (BrokenError if _started else UsageError)(why) from error
        _started = True

    def request(self, path: Path, message: Message, blobs: Sequence[bytes] = (), handle: int | None = None) -> None:
        """Ask for something; the answers come by `answer`."""
        try:
            send(self._link, {**message, "path": os.path.abspath(path)}, blobs, handle)
        except OSError as error:
            raise self._broken(path) from error

    def answer(self, path: Path, growing: Path | None = None) -> tuple[Message, list[bytes]]:
        """The next answer that is more than a sign of life.

        Parameters
        ----------
        path
            The file that was asked about.
        growing
            A file that the process writes; as long as it changes, that is a sign of life too.

        Raises
        ------
        D2MError
            What was wrong with the file, as the process found it.
        BrokenError
            The process crashed, ran out of memory, or showed no sign of life for `PATIENCE` seconds.
        """
        while True:
            self._wait(path, growing)
            try:
                message, blobs, _ = receive(self._link)
            except (EOFError, OSError) as error:
                raise self._broken(path) from error
            if "beat" in message:
                continue
            if "error" in message:
                kind = getattr(errors, message["error"], VideoError)
                # The process knows files by their whole path; a user as they were named.
                raise kind(str(message["text"]).replace(f"{os.path.abspath(path)}: ", f"{path}: ", 1))
            if "broken" in message:
                self.close()
                raise MemoryLackError(f"{path}: {message['broken']}; convert it, or give d2m more memory")
            if "unforeseen" in message:
                unforeseen = RuntimeError(str(message["unforeseen"]).strip().splitlines()[-1])
                unforeseen.add_note(str(message["unforeseen"]))
                raise unforeseen
            return message, blobs

    def _wait(self, path: Path, growing: Path | None) -> None:
        self._link.settimeout(PATIENCE)
        before = _change(growing)
        while not select.select([self._link], [], [], PATIENCE)[0]:
            if (now := _change(growing)) == before:
                self.close()
                raise BrokenError(
                    f"{path}: nothing came of it for {PATIENCE:.0f} s; it is damaged, or lies on a disk that does not "
                    "answer: copy it again or convert it"
                )
            before = now

    def taken(self) -> None:
        """Say that the last pictures were taken out of the shared memory."""
        with suppress(OSError):  # where it crashed meanwhile, the next answer tells
            send(self._link, {"do": "taken"})

    def shared(self, length: int) -> tuple[mmap.mmap, int | None]:
        """Memory that both sides see, kept for the next file; and its handle where the process has yet to be given it.

        Memory that is touched for the first time costs more than what is copied into it.
        """
        if self._shared is not None and len(self._shared) == length:
            return self._shared, None
        handle = shared_memory(length)
        self._shared = mmap.mmap(handle, length)
        return self._shared, handle

    @property
    def slim(self) -> bool:
        """Whether what earlier files left in it is little enough for the next one."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[5])
        except (OSError, ValueError, IndexError):
            return True  # a system that doesn't tell, and doesn't limit either
        return pages * os.sysconf("SC_PAGE_SIZE") < SLIM

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self._link.fileno() >= 0 and self._process.poll() is None

    def _broken(self, path: Path) -> BrokenError:
        why = self._ending()
        killed = self._process.poll() == -signal.SIGKILL
        self.close()
        kind = MemoryLackError if killed else BrokenError
        return kind(f"{path}: its decoder crashed ({why}); it is damaged, copy it again or convert it")

    def _ending(self) -> str:
        """How the process ended and what it said last, in words."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        if code == -signal.SIGKILL:
            return "the system ended it, most likely for want of memory"
        self._words.seek(0)
        lines = self._words.read()[-4000:].decode(errors="replace").strip().splitlines()
        why = f"stopped by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return why + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process."""
        if self._link.fileno() < 0:
            return
        self._close_handles()
        self._process.kill()
        # One that hangs in the system, on a disk that is gone, does not even die.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def _close_handles(self) -> None:
        self._link.close()
        os.close(self._life)
        self._words.close()


def _change(path: Path | None) -> int | None:
    """When a file was last written to, in ns."""
    try:
        return None if path is None else path.stat().st_mtime_ns
    except OSError:
        return None


_started = False
"""Whether a process has ever started here."""
_idle: list[MediaProcess] = []
_lock = threading.RLock()
"""The same thread may come again: a collection of garbage may end a reader that was left half-way."""


@contextmanager
def media_process() -> Iterator[MediaProcess]:
    """A process for one file, or for one part of the work on it; kept for the next where it is still well.

    Raises
    ------
    UsageError
        No process can be started.
    """
    process = None
    with _lock:
        while _idle and process is None:
            last = _idle.pop()
            # After a fork the pipes belong to the other process.
            if last.owner == os.getpid():
                if last.alive:
                    process = last
                else:
                    last.close()
    process = process or MediaProcess()
    well = False
    try:
        yield process
        well = True
    except BrokenError:
        raise
    except D2MError:
        well = True
        raise
    finally:
        with _lock:
            keep = well and process.alive and process.slim and len(_idle) < KEPT
            if keep:
                _idle.append(process)
        if not keep:
            process.close()


@atexit.register
def close_all() -> None:
    """End all idle processes."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.owner == os.getpid():
                process.close()
