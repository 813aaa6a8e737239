"""What a piece is made from and is not yet the piece: where it is long, that lies on the disk."""

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
"""Bytes that are kept in memory."""
BLOCK = 1 << 18
"""Samples that are moved at a time."""


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
            # In pieces, since all that is written at once is in memory twice.
            for row in window:
                for first in range(0, len(row), BLOCK):
                    self._file.write(np.ascontiguousarray(row[first : first + BLOCK], np.float32).data)
            self._file.flush()
        self._count += 1

    def close(self) -> None:
        """Let go of the windows."""
        self._file.close()

    def __del__(self) -> None:
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
        window = np.empty(self._shape, np.float32)
        self._file.seek(at * window.nbytes)
        self._file.readinto(window.data)
        return window


class Strip:
    """Sound that is laid down piece by piece while what it is made from is still being read.

    Parameters
    ----------
    channels
        How many it has.

    Raises
    ------
    OutputError
        The folder of temporary files has no room for it.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._file = tempfile.SpooledTemporaryFile(max_size=HELD)  # noqa: SIM115

    def lay(self, first: int, piece: NDArray[np.floating]) -> None:
        """(channels, n) from a sample on, in place of what was laid there."""
        with _room():
            self._file.seek(4 * self._channels * first)
            for begin in range(0, piece.shape[1], BLOCK):
                part = piece[:, begin : begin + BLOCK].T
                self._file.write(np.ascontiguousarray(part, np.float32).tobytes())
            self._file.flush()

    def take(self, out: Samples) -> None:
        """Fill (channels, n) from sample 0 on, with silence where nothing was laid, and let go of the file."""
        self._file.seek(0)
        for first in range(0, out.shape[1], BLOCK):
            part = out[:, first : first + BLOCK]
            read = np.frombuffer(self._file.read(4 * part.size), np.float32).reshape(-1, self._channels)
            part[:, : len(read)] = read.T
            part[:, len(read) :] = 0.0
        self._file.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"a long piece finds no room in {tempfile.gettempdir()} while it is made: {error.strerror}; free some "
            "space there, or set TMPDIR to a folder that has it"
        ) from error
