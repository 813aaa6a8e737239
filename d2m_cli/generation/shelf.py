"""The windows of a piece, which overlap, until they are joined: those of a long piece lie on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import overload

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import OutputError

Samples = NDArray[np.float32]

HELD = 1 << 24
"""Bytes of windows that are kept in memory."""


class Shelf(Sequence[Samples]):
    """Windows of one shape, (channels, n) float32 each, of which one at a time is in memory once there are many.

    How loud each of them is to be hangs on all of them, so none can be joined before the last is there. Together they
    are larger than the piece that comes of them, by all that neighbours share.

    Raises
    ------
    OutputError
        The folder of temporary files has no room for them.
    """

    def __init__(self) -> None:
        self._shape, self._count = (0, 0), 0
        self._file = tempfile.SpooledTemporaryFile(max_size=HELD)  # noqa: SIM115

    def add(self, window: Samples) -> None:
        """One more window, which is copied."""
        if self._count and window.shape != self._shape:
            raise ValueError(f"a window of {window.shape} does not lie beside those of {self._shape}")
        self._shape = window.shape
        with _room():
            self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(window, np.float32).tobytes())
            self._file.flush()
        self._count += 1

    def close(self) -> None:
        """Let go of the windows."""
        self._file.close()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> Samples: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Samples]: ...

    def __getitem__(self, number: int | slice) -> Samples | Sequence[Samples]:
        if isinstance(number, slice):
            raise TypeError("windows are taken one at a time")
        at = range(self._count)[number]
        size = 4 * self._shape[0] * self._shape[1]
        self._file.seek(at * size)
        return np.frombuffer(self._file.read(size), np.float32).reshape(self._shape)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the windows of a long piece find no room in {tempfile.gettempdir()}: {error.strerror}; free some space "
            "there, or set TMPDIR to a folder that has it"
        ) from error
