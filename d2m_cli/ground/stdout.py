"""Streams that no command fails on: where stdout can't be written to, the work goes on and the exit code tells."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any


class _Sink(io.RawIOBase):
    """Bytes on their way; what can't be written is dropped, from the first failure on."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner = inner
        self.name = name
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._inner is not None and bool(self._inner.isatty())

    def fileno(self) -> int:
        if self._inner is None:
            raise io.UnsupportedOperation(f"{self.name} is closed")
        return int(self._inner.fileno())

    def write(self, data: Any) -> int | None:
        if self.lost is None:
            try:
                if self._inner is None:
                    raise OSError(errno.EBADF, "it is closed")
                written: int | None = self._inner.write(data)
                return written
            except OSError as error:
                self.lost = error
        return len(data)


class _Retrying(_Sink):
    """Drops what can't be written, and tries again with what comes next: a disk may have room again."""

    def write(self, data: Any) -> int | None:
        self.lost = None
        return super().write(data)


class Guarded(io.TextIOWrapper):
    """Text for a stream of the program that never fails: what can't be written is dropped, line by line."""

    _kind: type[_Sink] = _Retrying

    def __init__(self, stream: Any, name: str) -> None:
        """Write where `stream` does: a text stream, or None where that is closed."""
        self._sink = self._kind(None if stream is None else getattr(stream.buffer, "raw", stream.buffer), name)
        super().__init__(
            io.BufferedWriter(self._sink),
            encoding="utf-8" if stream is None else stream.encoding,
            # File names may hold bytes that are no text; printing one must not end a batch.
            errors="backslashreplace",
            # What Python would write at once (PYTHONUNBUFFERED) is kept for no longer than a line.
            line_buffering=stream is not None and (stream.line_buffering or stream.write_through),
        )


class Stdout(Guarded):
    """Text for stdout; what can't be written is dropped, from the first failure on.

    Attributes
    ----------
    absent
        Whether stdout was closed when the program began.
    told
        Whether the user has been told already that something is lost.
    """

    _kind = _Sink

    def __init__(self, stream: Any) -> None:
        self.absent, self.told = stream is None, False
        super().__init__(stream, "<stdout>")

    @property
    def lost(self) -> OSError | None:
        """Why something could not be written, or None."""
        return self._sink.lost

    def settled(self, code: int) -> int:
        """Write out what is left, and say in one line where something is lost.

        Parameters
        ----------
        code
            The exit code so far.

        Returns
        -------
        The exit code: 1 in place of 0 where something is lost; not where a reader has gone, who wants no more.
        """
        self.flush()
        if self.lost is None or isinstance(self.lost, BrokenPipeError):
            return code
        if not self.told:
            self.told = True
            print(f"d2m: error: can't print to stdout: {self.lost.strerror}", file=sys.stderr)
        return code or 1


def guard_stdout() -> Stdout | None:
    """Put a `Stdout` in the place of ``sys.stdout``; None where that is no program's stream but, say, a notebook's."""
    if not isinstance(sys.stdout, Stdout):
        if sys.stdout is not None and not hasattr(sys.stdout, "buffer"):
            return None
        sys.stdout = Stdout(sys.stdout)
    return sys.stdout


def guard_stderr() -> None:
    """Put a `Guarded` in the place of ``sys.stderr`` where that is a program's stream.

    What can't be said (a full disk) would else lie in its buffer, and make Python end with 120 whatever came of the
    work.
    """
    if hasattr(sys.stderr, "buffer") and not isinstance(sys.stderr, Guarded):
        sys.stderr = Guarded(sys.stderr, "<stderr>")
