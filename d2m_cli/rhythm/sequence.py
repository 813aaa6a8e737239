"""Values of the rhythm room: what a dance says about time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError
from d2m_cli.pose.track import check_duration
from d2m_cli.rhythm.peaks import published_peaks

FASTEST_CLOCK = 10_000.0
"""Steps per second that a rhythm's clock may have."""
FASTEST_TEMPO = 10_000.0
"""Beats per minute; above, and below the same part of one, it is no tempo."""
STEADY = 0.5
"""Confidence from which a steady beat counts as seen."""
_LIKE = 1e-3
"""What rounding may add to a value, and to a length in seconds."""


@dataclass(frozen=True)
class RhythmGrid:
    """The clock on which an encoder reads rhythm; stored in every encoder checkpoint.

    Attributes
    ----------
    mode
        "beats", "stable", "paper" or "published": how the peaks were found.
    rate
        Steps per second.
    steps
        Length of one window in steps (256 at 50 Hz are 5.12 s).
    """

    mode: str = "beats"
    rate: float = 50.0
    steps: int = 256

    @property
    def seconds(self) -> float:
        """Length of one window in seconds."""
        return self.steps / self.rate


@dataclass(frozen=True)
class Tempo:
    """Tempo read off a rhythm.

    Attributes
    ----------
    bpm
        Beats per minute.
    first_beat
        Time in seconds of the first beat at or after 0, smaller than one period.
    confidence
        0 (no periodicity) to 1 (every peak on one grid).
    """

    bpm: float
    first_beat: float
    confidence: float

    def __post_init__(self) -> None:
        if not 1.0 / FASTEST_TEMPO <= self.bpm <= FASTEST_TEMPO:
            raise ValueError(f"a tempo of {self.bpm:g} bpm is none")
        if not 0.0 <= self.first_beat < math.inf:
            raise ValueError(f"the first beat comes at 0 s or later, not at {self.first_beat:g} s")
        if not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence:g}")

    def seen_from(self, start: float) -> Tempo:
        """The same beats on a clock that starts ``start`` seconds later."""
        return replace(self, first_beat=float((self.first_beat - start) % (60.0 / self.bpm)))


@dataclass(frozen=True, repr=False)
class BeatMap:
    """Where the beats of a dance are: one tempo map for a video.

    Attributes
    ----------
    beats
        (n,) float64 seconds, rising, over the whole video; empty where there are none.
    bpm
        Tempo, the median over the video; 0 where there are no beats.
    confidence
        Probability that the dance has a steady beat and that its tempo is the one found (within 4 %); 0 where there are
        no beats. How far beats lie from the music's at 70 ms it does not say: dancers are early or late.
    tempo
        (n,) float64 beats a minute at each beat.
    """

    beats: NDArray[np.float64]
    bpm: float
    confidence: float
    tempo: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.beats.ndim != 1 or not np.isfinite(self.beats).all() or np.any(np.diff(self.beats) <= 0):
            raise ValueError("beats must be rising times in seconds")
        if self.tempo.shape != self.beats.shape:
            raise ValueError(f"{len(self.beats)} beats and {len(self.tempo)} tempi do not belong together")
        if not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"a confidence lies between 0 and 1, not at {self.confidence:g}")

    def __repr__(self) -> str:
        return f"BeatMap(beats={len(self.beats)}, bpm={self.bpm:.1f}, confidence={self.confidence:.2f})"

    @classmethod
    def none(cls) -> BeatMap:
        """No beats."""
        return cls(np.zeros(0), 0.0, 0.0, np.zeros(0))

    @classmethod
    def of(cls, beats: NDArray[np.float64], confidence: float) -> BeatMap:
        """Beats as they are, (n,) seconds; under two of them there is no tempo, and so no map."""
        if len(beats) < 2:
            return cls.none()
        tempo = 60.0 / np.gradient(beats)
        return cls(beats, float(np.median(tempo)), confidence, tempo)

    @classmethod
    def even(cls, tempo: Tempo, duration: float, confidence: float | None = None) -> BeatMap:
        """The even grid of a tempo, over ``duration`` seconds; its confidence where no other is given."""
        beats = np.arange(tempo.first_beat, duration, 60.0 / tempo.bpm)
        value = tempo.confidence if confidence is None else confidence
        return cls(beats, tempo.bpm, value, np.full(len(beats), tempo.bpm)) if len(beats) else cls.none()

    @property
    def steady(self) -> bool:
        """Whether a steady beat was seen."""
        return self.confidence >= STEADY

    def folded(self, low: float, high: float) -> BeatMap:
        """Every second beat of it, or moments half-way between its beats too, until its tempo lies in low to high bpm.

        The interval must be an octave at least. All windows of a video so mean the same beats.
        """
        if high < 2.0 * low:
            raise ValueError(f"{low:g} to {high:g} bpm is less than an octave")
        if self.bpm > high:
            return replace(self, beats=self.beats[::2], bpm=self.bpm / 2, tempo=self.tempo[::2] / 2).folded(low, high)
        if 0.0 < self.bpm < low and len(self.beats) > 1:
            number = np.arange(len(self.beats))
            twice = np.arange(2 * len(number) - 1) / 2
            beats, tempo = np.interp(twice, number, self.beats), 2 * np.interp(twice, number, self.tempo)
            return replace(self, beats=beats, bpm=2 * self.bpm, tempo=tempo).folded(low, high)
        return self

    def seen_from(self, start: float, seconds: float) -> Tempo | None:
        """The tempo around one stretch of time, as an even grid on a clock that begins at ``start``.

        Returns
        -------
        The median tempo of the beats inside (of the nearest one where there is none), with the first of those beats in
        phase. Before the first beat and after the last the tempo goes on. None where the map has no beats.
        """
        if not len(self.beats):
            return None
        inside = (self.beats >= start) & (self.beats < start + seconds)
        near = int(np.abs(self.beats - start).argmin())
        at = int(np.flatnonzero(inside)[0]) if inside.any() else near
        bpm = float(np.median(self.tempo[inside])) if inside.any() else float(self.tempo[near])
        return Tempo(bpm, float((self.beats[at] - start) % (60.0 / bpm)), self.confidence)


@dataclass(frozen=True, repr=False)
class Rhythm:
    """Rhythm of one dancer over a whole video.

    Attributes
    ----------
    envelope
        (n,) float32: acceleration a(t) of Eq. 7 on an even clock from time 0, scaled to a maximum of 1.
    rate
        Steps per second of that clock.
    peaks
        (p,) float64: times of the local maxima in seconds, rising. In mode "published", whose thresholds belong to
        clips of 5.12 s, those of clips laid end to end from time 0; `window` picks again within the window asked for.
    duration
        Length of the video in seconds.
    tempo
        Tempo estimate, or None where there are too few peaks.
    mode
        "beats", "stable", "paper" or "published".
    mapped
        Beats as learned from real dances, of mode "beats"; None in the other modes. See `beats`.
    """

    envelope: NDArray[np.float32]
    rate: float
    peaks: NDArray[np.float64]
    duration: float
    tempo: Tempo | None
    mode: str
    mapped: BeatMap | None = None

    def __post_init__(self) -> None:
        check_duration(self.duration)
        if not 0.0 < self.rate <= FASTEST_CLOCK:
            raise ValueError(f"the rate is {self.rate:g} steps per second; it must be above 0, to {FASTEST_CLOCK:g}")
        values = self.envelope
        if values.ndim != 1 or not (values.min(initial=0.0) >= -_LIKE and values.max(initial=0.0) <= 1.0 + _LIKE):
            raise ValueError("envelope must be a vector of values from 0 to 1")
        step = 1.0 / self.rate
        if not math.isclose(len(values) * step, self.duration, abs_tol=2.0 * step + _LIKE):
            raise ValueError(f"{len(values)} steps of the envelope do not fit {self.duration:g} s")
        if self.peaks.ndim != 1 or not np.isfinite(self.peaks).all() or np.any(np.diff(self.peaks) <= 0):
            raise ValueError("peaks must be rising times in seconds")
        # A peak lies between steps of the clock, whose last may lie behind the end.
        if len(self.peaks) and not (-step <= self.peaks[0] and self.peaks[-1] <= self.duration + step):
            raise ValueError(f"peaks lie outside the dance, which lasts {self.duration:g} s")

    def __repr__(self) -> str:
        return f"Rhythm(mode={self.mode!r}, seconds={self.duration:.2f}, peaks={len(self.peaks)}, tempo={self.tempo})"

    @property
    def beats(self) -> BeatMap:
        """The beats of the dance: those of `mapped`, or else the even grid of `tempo`."""
        if self.mapped is not None:
            return self.mapped
        return BeatMap.none() if self.tempo is None else BeatMap.even(self.tempo, self.duration)

    def window(self, start: float, grid: RhythmGrid) -> NDArray[np.float32]:
        """Binary sequence r of one window (Sec. 3.2), as an encoder takes it.

        Parameters
        ----------
        start
            Start of the window in seconds; may lie before 0 or run past the end (no peaks there).
        grid
            Clock and length of the sequence.

        Returns
        -------
        (grid.steps,) float32 of zeros and ones. In mode "published" they are the peaks that the published code picks
        in this window as a clip of its own, out of its share of the envelope.

        Raises
        ------
        InputError
            The rhythm is of mode "published" and on another clock than the grid, as files of d2m 0.1.0 are.
        """
        self.check_clock(grid)
        sequence = np.zeros(grid.steps, dtype=np.float32)
        if self.mode == "published":
            index = self._published_index(round(start * grid.rate), grid)
        else:
            index = np.round((self.peaks - start) * grid.rate).astype(int)
        sequence[index[(index >= 0) & (index < grid.steps)]] = 1.0
        return sequence

    def check_clock(self, grid: RhythmGrid) -> None:
        """Raise InputError where a rhythm of mode "published" is on another clock than the grid; others fit any."""
        if self.mode == "published" and self.rate != grid.rate:
            raise InputError(
                f"a rhythm of mode 'published' at {self.rate:g} Hz, and {grid.rate:g} Hz is wanted: "
                "make it again with 'd2m rhythm --mode published'"
            )

    def _published_index(self, first: int, grid: RhythmGrid) -> NDArray[np.intp]:
        low = max(first, 0)
        clip = self.envelope[low : max(first + grid.steps, low)].astype(np.float64)
        return published_peaks(clip) + (low - first)
