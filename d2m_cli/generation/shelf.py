"""What a piece is made from, and is not yet the piece: where it is long, that lies on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.strip import BLOCK, HELD, room_for_sound

Samples = NDArray[np.float32]


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
        with room_for_sound():
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
