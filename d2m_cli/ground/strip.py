"""Sound that is not held in memory: where it is long, it lies on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import OutputError

Samples = NDArray[np.float32]

HELD = 1 << 24
"""Bytes that are kept in memory."""
BLOCK = 1 << 18
"""Samples that are moved at a time."""


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
        self._channels, self._count = channels, 0
        self._file = tempfile.SpooledTemporaryFile(max_size=HELD)  # noqa: SIM115

    def lay(self, first: int, piece: NDArray[np.floating]) -> None:
        """(channels, n) from a sample on, in place of what was laid there."""
        if not piece.shape[1]:
            return
        with room_for_sound():
            self._file.seek(4 * self._channels * first)
            for begin in range(0, piece.shape[1], BLOCK):
                part = piece[:, begin : begin + BLOCK].T
                self._file.write(np.ascontiguousarray(part, np.float32).data)
            self._file.flush()
        self._count = max(self._count, first + piece.shape[1])

    def __del__(self) -> None:
        self._file.close()

    @property
    def shape(self) -> tuple[int, int]:
        """(channels, samples up to the end of what was laid last)."""
        return self._channels, self._count

    def __getitem__(self, place: tuple[slice, slice]) -> Samples:
        """A passage, (channels, n), as `strip[:, first:last]`, with silence where nothing was laid."""
        first, last, step = place[1].indices(self._count)
        if place[0] != slice(None) or step != 1:
            raise TypeError("a passage is taken of all channels and all of its samples")
        out = np.empty((self._channels, max(last - first, 0)), np.float32)
        self._read(first, out)
        return out

    def take(self, out: Samples) -> None:
        """Fill (channels, n) from sample 0 on, with silence where nothing was laid, and let go of the file."""
        self._read(0, out)
        self._file.close()

    def _read(self, begin: int, out: Samples) -> None:
        self._file.seek(4 * self._channels * begin)
        for first in range(0, out.shape[1], BLOCK):
            part = out[:, first : first + BLOCK]
            read = np.frombuffer(self._file.read(4 * part.size), np.float32).reshape(-1, self._channels)
            part[:, : len(read)] = read.T
            part[:, len(read) :] = 0.0


@contextmanager
def room_for_sound() -> Iterator[None]:
    """Say what is to be done where the folder of temporary files has no room, by an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"a long piece finds no room in {tempfile.gettempdir()} while it is made: {error.strerror}; free some "
            "space there, or set TMPDIR to a folder that has it"
        ) from error
