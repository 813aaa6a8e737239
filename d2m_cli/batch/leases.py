"""Whether a run lives that may be on another machine: it counts in a file, and others see whether the count goes on.

On one machine the lock of a run's card says that at once, and for certain. Over a network a lock says less: some file
systems keep it for long when a machine is gone, and some never show it to other machines. No clock of another machine
is asked: each observer goes by its own, and only by the time over which it looked itself.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from d2m_cli.errors import OutputError
from d2m_cli.ground.locks import is_locked

CARD = "run.json"
"""In a run's folder: what it has claimed. It is locked for as long as the process lives."""
BEAT = "beat"
"""Beside the card: the machine, and a number that grows."""
BEAT_SECONDS = 5.0
"""Between two counts."""
LEASE_SECONDS = 60.0
"""A run on another machine whose count stood still for so long is taken for dead."""
LOOK_SECONDS = 1.0
"""Between two looks at one count."""
_GAP_SECONDS = 5.0
"""Two looks that lie further apart show no longer a standstill: the observer may itself have stood still."""


@cache
def machine() -> str:
    """This machine, until it is started anew: processes with the same name see each other's locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


class Pulse:
    """Counts in a run's folder from its beginning until it is ended, or the process is.

    Parameters
    ----------
    folder
        Of the run; the first count is in it when this returns.

    Raises
    ------
    OSError
        The folder can't be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / BEAT
        self._card = folder / CARD
        self._path.write_bytes(_count(0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="d2m-pulse", daemon=True)

    def begin(self) -> None:
        """Go on counting."""
        self._thread.start()

    def check(self) -> None:
        """Raise OutputError where another run has taken this one for dead, and taken over what it had claimed."""
        if not self._card.exists():
            raise OutputError(
                f"{self._card.parent} is gone: this run was not heard of for {LEASE_SECONDS:.0f} s (its machine slept, "
                "or had no network), and another has taken over; run the same command again"
            )

    def end(self) -> None:
        """Count no more."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT_SECONDS):
            count += 1
            # A network that is gone may come back; where the file is gone, that is told when results are placed. It is
            # opened anew each time, since other machines of a network see what was written once it is closed.
            with suppress(OSError):
                handle = os.open(self._path, os.O_WRONLY)
                try:
                    os.write(handle, _count(count))
                finally:
                    os.close(handle)


def _count(number: int) -> bytes:
    # Always as long, so that it can be written over.
    return f"{machine()} {number:012}".encode()


@dataclass
class _Sight:
    """What was seen of a run: its count, for how many seconds that stood still, and when it was last looked at."""

    machine: str
    count: bytes
    still: float
    looked: float
    moved: bool = False


_sights: dict[Path, _Sight] = {}
_guard = threading.Lock()


def is_at_work(folder: Path) -> bool:
    """Whether the run of a folder lives; yes as long as that can't be told."""
    card = folder / CARD
    if not card.is_file():
        return False
    sight = _sight(folder)
    if sight is None or sight.machine == machine():
        return is_locked(card)
    return sight.still < LEASE_SECONDS


def is_at_work_for_sure(folder: Path) -> bool:
    """`is_at_work` once that can be told, which takes `LEASE_SECONDS` or a little more at most."""
    while is_at_work(folder):
        sight = _sight(folder)
        if sight is None or sight.moved or sight.machine == machine():
            return True
        time.sleep(LOOK_SECONDS / 2)
    return False


def unheard(folder: Path) -> float:
    """For how many seconds a run on another machine was not heard of, by the clocks; 0 where that is not unusual.

    For telling, not for deciding: clocks differ.
    """
    sight = _sight(folder)
    if sight is None or sight.machine == machine():
        return 0.0
    try:
        age = time.time() - (folder / BEAT).stat().st_mtime
    except OSError:
        return 0.0
    return age if age > LEASE_SECONDS else 0.0


def _sight(folder: Path) -> _Sight | None:
    """What is known of a run's count; None where it has none: one of a version that goes by locks alone."""
    with _guard:
        now, known = time.monotonic(), _sights.get(folder)
        if known is not None and (now - known.looked < LOOK_SECONDS or known.machine == machine()):
            return known
        home, count = b"", b"" if known is None else known.count
        # Opening a pipe would wait for ever.
        if (folder / BEAT).is_file():
            with suppress(OSError):
                home, _, count = (folder / BEAT).read_bytes().partition(b" ")
        if known is None and not home:
            return None
        if known is None:
            known = _sights[folder] = _Sight(home.decode(errors="replace"), count, 0.0, now)
        elif count != known.count:
            known.count, known.still, known.moved = count, 0.0, True
        else:
            known.still += min(now - known.looked, _GAP_SECONDS)
        known.looked = now
        return known
