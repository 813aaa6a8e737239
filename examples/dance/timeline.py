"""Time: where the beats are, which of them are danced, and how a quantity moves so that it lands on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .skeleton import Array

CLOCK = 240.0
"""Samples per second of the clock that motion is composed on; every frame rate is read off it."""
MARGIN = 1.5
"""Seconds composed before 0 and after the end, so that a clip starts and stops in full motion."""
SOFTNESS = 0.014
"""Standard deviation in seconds of the smoothing that flesh gives a stop; symmetric, so accents keep their times."""


@dataclass(frozen=True)
class Accent:
    """A moment at which the dancer lands, stops or strikes.

    Attributes
    ----------
    time
        Seconds, jitter included.
    count
        Number of the beat from the first of the clip (negative before it).
    off
        Whether it is an extra hit half a beat after that beat.
    """

    time: float
    count: int
    off: bool = False


def beat_times(bpm: float, first: float, seconds: float) -> Array:
    """The beats of the music within [0, seconds)."""
    period = 60.0 / bpm
    return np.arange(first, seconds, period)


def plan_accents(
    bpm: float, first: float, seconds: float, rng: np.random.Generator, jitter: float, missed: float, off: float
) -> list[Accent]:
    """The accents that are danced to a beat.

    Parameters
    ----------
    bpm, first, seconds
        Tempo, time of the first beat, and length of the clip; accents reach `MARGIN` beyond it.
    rng
        Source of what is human about them.
    jitter
        Standard deviation of the timing in seconds.
    missed
        Share of beats that are not danced (never two in a row, never one of the first four).
    off
        Share of beats followed by an extra hit half a beat later.
    """
    period = 60.0 / bpm
    accents: list[Accent] = []
    start = -int(np.ceil((MARGIN + first) / period))
    last_danced = True
    for count in range(start, int((seconds + MARGIN - first) / period) + 1):
        draws, lateness = rng.random(2), float(np.clip(rng.normal(0, jitter), -2.5 * jitter, 2.5 * jitter))
        danced = not (draws[0] < missed and last_danced and count > 3)
        if danced:
            accents.append(Accent(first + count * period + lateness, count))
            if draws[1] < off:
                accents.append(Accent(first + (count + 0.5) * period + lateness, count, off=True))
        last_danced = danced
    return accents


class Channel:
    """One quantity over time, moved by hits (arrive at a value and stop) and by arcs (swing away between accents)."""

    def __init__(self, seconds: float, initial: tuple[float, ...]) -> None:
        self.width = len(initial)
        self.clock: Array = np.arange(-MARGIN, seconds + MARGIN, 1.0 / CLOCK)
        self._initial = np.array(initial)
        self._hits: list[tuple[float, Array, float, float, float]] = []
        self._extra = np.zeros((len(self.clock), len(initial)))

    def hit(
        self, time: float, value: tuple[float, ...] | Array, lead: float, power: float = 2.2, recoil: float = 0.04
    ) -> None:
        """Move to `value` in the `lead` seconds before `time`, ever faster, and stop there with a slight recoil.

        The start is soft and the stop is hard, so the only peak of acceleration is the stop, at `time`.
        """
        self._hits.append((time, np.asarray(value, dtype=float), lead, power, recoil))

    def arc(self, start: float, end: float, away: tuple[float, ...] | Array) -> None:
        """Swing by `away` and back between two accents as a ball bounces: soft at the far point, sharp at the ends."""
        phase = (self.clock - start) / (end - start)
        inside = (phase > 0) & (phase < 1)
        self._extra[inside] += np.outer(4 * phase[inside] * (1 - phase[inside]), np.asarray(away, dtype=float))

    def add(self, values: Array) -> None:
        """Add (n, d) values on the clock."""
        self._extra += values

    def values(self) -> Array:
        """(n, d) on the clock."""
        out = np.tile(self._initial, (len(self.clock), 1))
        ringing = self._extra.copy()
        current, free = self._initial, -np.inf
        for time, target, lead, power, recoil in sorted(self._hits, key=lambda hit: hit[0]):
            start = max(time - lead, free)
            moving = (self.clock >= start) & (self.clock < time)
            progress = ((self.clock[moving] - start) / max(time - start, 1e-6))[:, None] ** power
            out[moving] = current + progress * (target - current)
            out[self.clock >= time] = target
            after = np.clip(self.clock - time, 0, None)
            shake = np.where(after > 0, np.sin(after * 2 * np.pi / 0.24) * np.exp(-after / 0.07), 0.0)
            ringing -= recoil * np.outer(shake, target - current)
            current, free = target, time
        smooth: Array = gaussian_filter1d(out + ringing, SOFTNESS * CLOCK, axis=0, mode="nearest")
        return smooth
