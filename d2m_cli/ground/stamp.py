"""When a file need not be read again to know that it is still the one that was read."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from d2m_cli.ground.digests import content_digest

_TICK = 20_000_000
"""Nanoseconds, at most, between two time stamps that a kernel tells apart where it keeps parts of a second."""

_COARSE_TICK = 2_000_000_000
"""The same for file systems that keep whole seconds, or two."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as its folder listed it while it was read.

    Attributes
    ----------
    size
        In bytes.
    modified, changed
        Times of the last change of the content, and of the content or the name, in ns (on Windows, which keeps no such
        time, `changed` is when the file was made).
    noted
        When the reading began, in ns; 0 where the file changed meanwhile.
    """

    size: int
    modified: int
    changed: int
    noted: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Of a file that is about to be read.

        Raises
        ------
        OSError
            It can't be looked at, or is no regular file: opening a pipe would wait for ever.
        """
        noted = time.time_ns()
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "not a regular file", str(path))
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, noted)

    def same_file(self, other: Stamp) -> bool:
        """Whether both show one and the same size and times."""
        return (self.size, self.modified, self.changed) == (other.size, other.modified, other.changed)

    def vouches_for(self, now: Stamp) -> bool:
        """Whether a file that looks like `now` holds what was read when this stamp was taken.

        A file that changed within one tick of the clock before it was read may change once more within that tick and
        look the same; such a stamp vouches for nothing.
        """
        return self.same_file(now) and self.noted - self.latest >= self.tick

    @property
    def latest(self) -> int:
        """When the file last changed, in ns: as the kernel noted it, since a user may set `modified` to any time."""
        return self.changed if os.name == "posix" else max(self.modified, self.changed)

    @property
    def tick(self) -> int:
        """Nanoseconds within which two changes of this file may show the same time."""
        return _TICK if self.changed % 1_000_000_000 else _COARSE_TICK


def read_digest(path: Path) -> tuple[str, Stamp]:
    """BLAKE2b (16 bytes, hexadecimal) of a file's content, and the stamp that goes with it.

    Raises
    ------
    OSError
        The file can't be read.
    """
    before = Stamp.of(path)
    digest = content_digest(path)
    after = Stamp.of(path)
    noted = before.noted if before.same_file(after) else 0
    return digest, Stamp(after.size, after.modified, after.changed, noted)


def settle(path: Path) -> None:
    """Wait until a file that was just made can be read with a stamp that vouches for it, where that takes no time."""
    stamp = Stamp.of(path)
    missing = stamp.tick - (stamp.noted - stamp.latest)
    if 0 < missing <= _TICK:
        time.sleep(missing / 1e9)
