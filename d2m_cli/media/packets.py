"""From the packets of a picture track to the order and the times of its pictures. Numbers only, no files."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a time stamp that the container does not give."""
HIDDEN = -1
"""Rank of a packet that is decoded for others and not shown, as the lead-in of a trimmed film."""
DROPPED = -2
"""Rank of a packet that can't be decoded, since the film was cut before what it is built on."""

SHORTEST = Fraction(1, 500)
"""Seconds a picture stands at least; a length below that is none."""
JUMP = 10.0
"""Seconds by which a clock may run ahead before another recording is taken to begin, where clocks start again."""

SHORT_BY = 0.1
"""Share of the announced length, at least a second, that may be missing before a file counts as truncated."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Packets:
    """The packets of one picture track in the order in which they are decoded; times in ticks of `time_base`.

    Attributes
    ----------
    pts, dts
        (n,) int64: when each is shown and decoded, or `UNKNOWN`.
    durations
        (n,) int64; 0 where it is not known.
    discard
        (n,) bool: not to be shown, as an edit list says.
    time_base
        Seconds a tick.
    rate
        Mean pictures a second as the container tells, or None.
    end
        Where the track ends as the container tells, or `UNKNOWN`.
    clock_restarts
        Whether time stamps may start again within the file (MPEG-TS and MPEG-PS), as where recordings were joined.
    sparse
        Whether the container stamps only some pictures and the rest are guessed (MPEG-PS).
    counted
        Whether the container only counts pictures (AVI): they are shown one after the other as they are decoded.
    keys
        (k,) int64: numbers of those from which decoding may begin.
    """

    pts: Ints
    dts: Ints
    durations: Ints
    discard: NDArray[np.bool_]
    time_base: Fraction
    rate: Fraction | None
    end: int = UNKNOWN
    clock_restarts: bool = False
    sparse: bool = False
    counted: bool = False
    keys: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def period(self) -> float:
        """Ticks from one picture to the next, as the rate says or as the time stamps show."""
        if self.rate:
            return float(1 / self.rate / self.time_base)
        for stamps in (self.dts, self.pts):
            steps = np.diff(np.sort(stamps[stamps != UNKNOWN]))
            if (steps > 0).any():
                return float(np.median(steps[steps > 0]))
        given = self.durations[self.durations > 0]
        return float(np.median(given)) if len(given) else float(1 / (25 * self.time_base))


@dataclass(frozen=True, repr=False)
class Layout:
    """Which picture a packet holds, and when pictures are shown.

    Attributes
    ----------
    order
        (packets,) int64: number of the shown picture, or `HIDDEN` or `DROPPED`.
    ticks
        (n,) int64: when each shown picture begins, rising.
    end
        Ticks at which the last one ends.
    in_sequence
        Time stamps don't tell which packet is shown when: pictures take their times in the order in which they come out
        of the decoder.
    notes
        What was mended, in words.
    """

    order: Ints
    ticks: Ints
    end: int
    in_sequence: bool
    notes: tuple[str, ...] = ()


def lay_out(packets: Packets, first: int = 0) -> Layout:
    """Order and times of the pictures; see `Layout`.

    A missing decoding time goes on from its neighbours by the frame rate. Where presentation times are missing,
    pictures are shown as evenly as they are decoded. Where a clock starts again, the next picture follows the last one.

    Parameters
    ----------
    packets
        Of the picture track.
    first
        Number of the packet that holds the first picture which can be decoded. What should be shown before it was built
        on pictures that are not there any more.
    """
    notes: list[str] = []
    period = packets.period
    dts = _filled(packets.dts, packets.pts, period)
    lag = np.where(packets.pts == UNKNOWN, UNKNOWN, packets.pts - dts)
    if packets.clock_restarts:
        dts, jumps = _continuous(dts, packets.durations, period, JUMP / float(packets.time_base))
        if jumps:
            notes.append(f"clock starts again {'once' if jumps == 1 else f'{jumps} times'}: joined without a gap")
    pts = np.where(lag == UNKNOWN, UNKNOWN, dts + lag)
    shown = ~packets.discard
    lost = shown & (pts != UNKNOWN) & (pts < pts[first])
    shown &= ~lost
    missing = int((shown & (pts == UNKNOWN)).sum())
    twice = packets.sparse and len(np.unique(pts[shown])) < int(shown.sum())
    in_sequence = packets.counted or missing > 0 or twice
    if twice:
        notes.append("few pictures have a time stamp: dated by the frame rate")
        pts = pts[first] + np.round((np.cumsum(shown) - 1) * period).astype(np.int64)
    elif in_sequence:
        if missing:
            notes.append(f"{missing} of {len(packets)} pictures have no time stamp: filled in by the frame rate")
        pts = _even(dts, pts, packets.counted)
    order, ticks = _ranks(pts, shown)
    order[lost] = DROPPED
    return Layout(order, ticks, _end(packets, pts, order, ticks, period), in_sequence, tuple(notes))


def may_miss(seconds: float) -> float:
    """Seconds of a film of this length that may be missing in one place."""
    return max(1.0, SHORT_BY * seconds)


def decoding_times(pts: Ints, period: float) -> Ints:
    """Rising decoding times that are nowhere after the presentation times, (n,) ticks.

    Those of an encoder with a fixed delay: the k-th packet is decoded when the k-th picture would be shown, moved ahead
    until none is late.

    Parameters
    ----------
    pts
        (n,) presentation times in the order of decoding, all different.
    period
        Unused stamps are spread by this many ticks where pictures share one.
    """
    if not len(pts):
        return pts
    step = max(1, round(period))
    rising = np.sort(pts)
    # Rounded clocks can give two pictures one tick; decoding times must rise all the same.
    for index in np.flatnonzero(np.diff(rising) <= 0):
        rising[index + 1] = rising[index] + min(step, 1)
    return rising - max(0, int((rising - pts).max()))


def _filled(dts: Ints, pts: Ints, period: float) -> Ints:
    known = np.flatnonzero(dts != UNKNOWN)
    if not len(known):
        if (pts != UNKNOWN).all():
            return decoding_times(pts, period)
        start = int(pts[pts != UNKNOWN].min()) if (pts != UNKNOWN).any() else 0
        return start + np.round(np.arange(len(dts)) * period).astype(np.int64)
    before = np.maximum.accumulate(np.where(dts != UNKNOWN, np.arange(len(dts)), -1))
    before = np.where(before < 0, known[0], before)
    return dts[before] + np.round((np.arange(len(dts)) - before) * period).astype(np.int64)


def _continuous(dts: Ints, durations: Ints, period: float, jump: float) -> tuple[Ints, int]:
    """Decoding times without the places where the clock starts again, and how many those are."""
    steps = np.diff(dts)
    broken = (steps < -2 * period) | (steps > jump)
    follow = np.where(durations[:-1] > 0, durations[:-1], round(period))
    steps = np.where(broken, follow, steps)
    return np.concatenate([dts[:1], dts[0] + np.cumsum(steps)]), int(broken.sum())


def _even(dts: Ints, pts: Ints, counted: bool) -> Ints:
    """Presentation times for pictures that are shown in the rhythm in which they are decoded."""
    both = np.flatnonzero(pts != UNKNOWN)
    delay = int(pts[both[0]] - dts[both[0]]) if len(both) and not counted else 0
    return dts + delay


def _ranks(pts: Ints, shown: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    order = np.full(len(pts), HIDDEN, np.int64)
    index = np.flatnonzero(shown)
    index = index[np.argsort(pts[index], kind="stable")]
    ticks = pts[index]
    # Of packets with one time stamp the first is a picture; the second may be its other field, or damage.
    fresh = np.concatenate([[True], np.diff(ticks) > 0]) if len(ticks) else np.zeros(0, bool)
    order[index[fresh]] = np.arange(int(fresh.sum()))
    return order, ticks[fresh]


def _end(packets: Packets, pts: Ints, order: Ints, ticks: Ints, period: float) -> int:
    if not len(ticks):
        return 0
    last = int(np.flatnonzero(order == len(ticks) - 1)[0])
    # Durations are steps of decoding: the last picture's own is that of the last packet, whichever picture it holds.
    reordered = bool((np.diff(pts[order >= 0]) < 0).any())
    own = int(packets.durations[-1 if reordered else last])
    # Where a container does not know a packet's length it says 0, or a tick or two.
    if own * packets.time_base < SHORTEST:
        own = round(period)
    longest = 2 * max(own, int(packets.durations[last]), round(period))
    if packets.end != UNKNOWN and int(ticks[-1]) < packets.end <= int(ticks[-1]) + longest:
        return packets.end
    return int(ticks[-1]) + max(1, own)
