"""The value that comes out: music for one video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.shelf import Shelf
from d2m_cli.generation.snap import Snap
from d2m_cli.media.loudness import Level


@dataclass(frozen=True, repr=False)
class Music:
    """Music as long as its video.

    Attributes
    ----------
    samples
        (channels, n) float32, full scale at 1.
    sample_rate
        In Hz.
    beats
        (b,) float64: times of its beats in seconds, rising, as a beat tracker hears them.
    level
        How loud it is, and what decided that; None where it was left as it came.
    breaks
        (start, end) in seconds of where it is silent since the dance holds.
    snap
        What was done to bring its beats onto the dance's; None where that was not asked for.
    candidates
        The piece as it would be if take number one had been kept of each window, number two, and so on; each window's
        takes go on from the one that was kept before. Empty where they were not to be kept. Of a long
        piece each is read from the disk when it is asked for.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    beats: NDArray[np.float64]
    level: Level | None = None
    breaks: tuple[tuple[float, float], ...] = ()
    snap: Snap | None = None
    candidates: Sequence[Music] = ()

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise ValueError(f"samples must be float32 (channels, n), not {self.samples.dtype} {self.samples.shape}")
        # What is no number is passed on by both.
        if not np.isfinite([self.samples.min(initial=0.0), self.samples.max(initial=0.0)]).all():
            raise ValueError("samples hold values that are not finite")
        if self.sample_rate <= 0:
            raise ValueError(f"sample_rate must be above 0, not {self.sample_rate}")
        if self.beats.ndim != 1 or np.any(np.diff(self.beats) <= 0):
            raise ValueError("beats must be rising times in seconds")

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples[0]) / self.sample_rate

    def __repr__(self) -> str:
        channels = len(self.samples)
        return (
            f"Music(seconds={self.seconds:.2f}, channels={channels}, rate={self.sample_rate}, beats={len(self.beats)})"
        )


class Aside(Sequence[Music]):
    """Pieces of one shape, of which none is in memory once they are long: each is read anew when it is asked for.

    Parameters
    ----------
    pieces
        Each is let go of before the next is taken.

    Raises
    ------
    OutputError
        The folder of temporary files has no room for them.
    """

    def __init__(self, pieces: Iterable[Music]) -> None:
        self._shelf, self._reading = Shelf(), Lock()
        self._told: list[Music] = []
        for piece in pieces:
            self._shelf.add(piece.samples)
            self._told.append(replace(piece, samples=piece.samples[:, :0].copy()))
            del piece

    def __len__(self) -> int:
        return len(self._told)

    @overload
    def __getitem__(self, number: int) -> Music: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Music]: ...

    def __getitem__(self, number: int | slice) -> Music | Sequence[Music]:
        if isinstance(number, slice):
            return tuple(map(self.__getitem__, range(len(self))[number]))
        with self._reading:
            return replace(self._told[number], samples=self._shelf[number])

    def __iter__(self) -> Iterator[Music]:
        return map(self.__getitem__, range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # What goes to another process goes whole.
        return tuple, (tuple(self),)
