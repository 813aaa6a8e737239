"""Which beat of the music goes to which beat of the dance, and the evenest map that brings them together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.bend import TimeMap, held_share

Array = NDArray[np.float64]

FEWEST_BEATS = 4
"""Beats, of the music and of the dance, under which nothing is aligned."""
OCTAVES = (1.0, 2.0, 0.5)
"""Beats of the music to one of the dance."""
STIFFNESS = 2.0
"""How much even tempo counts beside landing: a tracker's beats tremble, and music shall not tremble after them."""
OUTLIER = 0.04
"""Seconds beyond which a beat pulls no harder: the tracker may have been wrong."""
STRONG = 1e4
"""How hard a bound is held to beside a beat."""
ROUNDS = 12
ROUNDING = 0.005
"""Seconds of music that may be missing at the ends."""


@dataclass(frozen=True)
class Bounds:
    """What snapping may do.

    Attributes
    ----------
    bend
        Largest change of rate, as a share, at any moment.
    notice
        Seconds. Music whose beats lie within this of the dance's, on average, is left alone, and music that can be
        brought there by cutting its beginning alone is not stretched.
    spare_attacks
        Whether percussive onsets keep rate 1.
    steady_only
        Whether a dance without a steady beat is left alone.
    """

    bend: float = 0.08
    notice: float = 0.02
    spare_attacks: bool = True
    steady_only: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.bend < 0.5:
            raise ValueError(f"music is bent by a share between 0 and 0.5, not by {self.bend:g}")
        if not self.notice >= 0.0:
            raise ValueError(f"what is noticed is a time of 0 s or more, not {self.notice:g} s")


@dataclass(frozen=True)
class Fit:
    """One way of laying music under a dance.

    Attributes
    ----------
    time_map
        From the time of the music to that of the dance.
    missed
        Mean distance in seconds between beats of the music and the dance's that they go to.
    bend
        Root of the mean squared change of rate over the dance.
    per_beat
        Beats of the music to one of the dance: 0.5, 1 or 2.
    even
        Whether the rate is 1 throughout.
    """

    time_map: TimeMap
    missed: float
    bend: float
    per_beat: float
    even: bool

    @property
    def cost(self) -> float:
        """Bend and distance in one number, in seconds: 1 % of bend weighs like 5 ms."""
        return self.missed + 0.5 * self.bend


def best_fit(
    seconds: float,
    beats: Array,
    dance: Array,
    duration: float,
    zones: Array,
    bounds: Bounds,
    start: float | None = None,
) -> Fit | None:
    """The way to lay music under a dance that bends least and lands best; the first of equals. None where none fits.

    Parameters
    ----------
    seconds
        Length of the music.
    beats, dance
        Beats of both in seconds.
    duration
        Of the dance.
    zones
        (z, 2) seconds of the music that keep rate 1.
    bounds
        What may be done.
    start
        Moment of the music to begin at, give or take three quarters of a beat; None for any.
    """
    best: Fit | None = None
    for per_beat in octaves(beats, dance, bounds):
        for source, target in pairings(beats, dance, per_beat, seconds, duration, start):
            found = fit(source, target, zones, bounds)
            if found is None or not _has_material(found.time_map, seconds, duration):
                continue
            if best is None or found.cost < best.cost - 1e-3:
                best = replace(found, per_beat=per_beat)
    return best


def octaves(beats: Array, dance: Array, bounds: Bounds) -> tuple[float, ...]:
    """Which octave brings the tempi within the bound, the nearest; none where none does."""
    ratio = float(np.median(np.diff(dance)) / np.median(np.diff(beats)))
    near = min(OCTAVES, key=lambda octave: abs(np.log(ratio / octave)))
    return (near,) if abs(np.log(ratio / near)) <= np.log1p(1.25 * bounds.bend) else ()


def pairings(
    beats: Array, dance: Array, per_beat: float, seconds: float, duration: float, start: float | None
) -> Iterator[tuple[Array, Array]]:
    """All ways to give beats of the music to beats of the dance in order, that begin with what the music has.

    Parameters
    ----------
    beats, dance, seconds, duration, start
        As in `best_fit`.
    per_beat
        Beats of the music to one of the dance.

    Yields
    ------
    (p,) seconds of the music and (p,) seconds of the dance each.
    """
    if per_beat == 2.0:
        dance = halved(dance)
    every = 2 if per_beat == 0.5 else 1
    period = float(np.median(np.diff(beats)))
    for phase in range(every):
        goals = dance[phase::every]
        if len(goals) < 2:
            continue
        for first in range(-len(goals) + FEWEST_BEATS, len(beats) - FEWEST_BEATS + 1):
            low, high = max(first, 0), min(first + len(goals), len(beats))
            source, target = beats[low:high], goals[low - first : high - first]
            if len(source) < 2:
                continue
            begin = source[0] - target[0]
            if start is not None and abs(begin - start) > 0.75 * period:
                continue
            # What would ask for more than a beat before the music begins or behind its end can't be made fit.
            if begin < -period or source[-1] + duration - target[-1] > seconds + period:
                continue
            yield source, target


def _has_material(time_map: TimeMap, seconds: float, duration: float) -> bool:
    """Whether all that would be heard is there, but for what rounding takes."""
    begin, end = time_map.to_source(np.array([0.0, duration]))
    return bool(begin >= -ROUNDING and end <= seconds + ROUNDING)


def fit(source: Array, target: Array, zones: Array, bounds: Bounds) -> Fit | None:
    """The evenest map that brings beats of the music near those of the dance.

    Parameters
    ----------
    source, target
        (p,) seconds of the music and of the dance that belong together.
    zones
        (z, 2) seconds of the music that keep rate 1.
    bounds
        What may be done.

    Returns
    -------
    None where the bound on bending keeps the music from following.
    """
    shift = float(np.median(target - source))
    moved = source + shift
    if np.abs(moved - target).mean() <= bounds.notice and np.abs(moved - target).max() <= 2.5 * bounds.notice:
        return Fit(TimeMap(source, moved), float(np.abs(moved - target).mean()), 0.0, 1.0, True)
    held = held_share(zones, source)
    slowest = held + (1.0 - held) / (1.0 + bounds.bend)
    fastest = held + (1.0 - held) * (1.0 + bounds.bend)
    times = smooth(source, target, slowest, fastest)
    missed = float(np.abs(times - target).mean())
    if missed > 2.0 * OUTLIER:
        return None
    rates = np.diff(source) / np.diff(times)
    return Fit(TimeMap(source, times), missed, float(np.sqrt(np.mean((rates - 1.0) ** 2))), 1.0, False)


def smooth(source: Array, target: Array, least: Array, most: Array) -> Array:
    """Times near the target at which beats of the music come, in even steps and within bounds.

    Minimised is the sum of squared distances from the target and of `STIFFNESS` times the changes of rate, both in
    seconds; a distance over `OUTLIER` pulls no harder than one of that size. Each step lies between `least` and `most`
    times that of the music.

    Returns
    -------
    (p,) seconds, rising.
    """
    from scipy.linalg import solve_banded

    steps = np.diff(source)
    even = _evenness(steps)
    weights, held = np.ones(len(source)), np.zeros(len(steps), dtype=np.int8)
    times = target
    for _ in range(ROUNDS):
        bands, right = even.copy(), weights * target
        bands[2] += weights
        strong = STRONG * np.abs(held)
        wanted = strong * steps * np.where(held > 0, most, least)
        bands[2, :-1] += strong
        bands[2, 1:] += strong
        bands[1, 1:] -= strong
        bands[3, :-1] -= strong
        right[:-1] -= wanted
        right[1:] += wanted
        times = solve_banded((2, 2), bands, right)
        taken = np.diff(times) / steps
        now = np.where(taken > most + 1e-4, 1, np.where(taken < least - 1e-4, -1, held)).astype(np.int8)
        pulls = OUTLIER / np.maximum(np.abs(times - target), OUTLIER)
        if np.array_equal(now, held) and np.allclose(pulls, weights, atol=1e-3):
            break
        held, weights = now, pulls
    exact = np.clip(np.diff(times) / steps, least, most) * steps
    found: Array = times[0] + np.concatenate([[0.0], np.cumsum(exact)])
    return found


def _evenness(steps: Array) -> Array:
    """Changes of rate, squared, as the five diagonals of a matrix over the beats: (5, p)."""
    count = len(steps) + 1
    bands = np.zeros((5, count))
    typical = STIFFNESS * float(np.median(steps))
    before, behind = typical / steps[:-1], typical / steps[1:]
    row = (before, -before - behind, behind)
    inner = max(count - 2, 0)
    for a in range(3):
        for b in range(3):
            bands[2 + a - b, b : b + inner] += row[a] * row[b]
    return bands


def halved(beats: Array) -> Array:
    """Beats and the moments halfway between them."""
    both: Array = np.sort(np.concatenate([beats, 0.5 * (beats[1:] + beats[:-1])]))
    return both
