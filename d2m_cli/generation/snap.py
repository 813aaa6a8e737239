"""Bend music so that its beats fall on those of a dance.

The beats of the music, as a tracker hears them, go to beats of the dance in order: which one the first goes to is
chosen, and the time between is stretched by a few per cent at most. Nothing is done where the dance shows no steady
beat, where the music has none, and where nobody would hear the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.bend import TimeMap, attacks, held_share, render, spare

if TYPE_CHECKING:
    from d2m_cli.rhythm.beat_map import BeatMap

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

FEWEST_BEATS = 4
"""Beats, of the music and of the dance, under which nothing is snapped."""
OCTAVES = (1.0, 2.0, 0.5)
"""Beats of the music to one of the dance."""
STIFFNESS = 2.0
"""How much even tempo counts beside landing: a tracker's beats tremble, and music shall not tremble after them."""
OUTLIER = 0.04
"""Seconds beyond which a beat pulls no harder: the tracker may have been wrong."""
ROUNDS = 12
UNSTEADY = 0.3
"""Share of tracked intervals that may differ from their median by a fifth; beyond, the music has no beat."""


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
class Snap:
    """What was done to a piece of music.

    Attributes
    ----------
    done
        "nothing", "cut" (moved as a whole) or "bent".
    why
        Why nothing was done, "" otherwise.
    per_beat
        Beats of the music to one of the dance: 0.5, 1 or 2.
    offset
        Seconds of the music that were cut from its beginning.
    slowest, fastest
        Least and greatest rate, in seconds of music per second heard.
    untouched
        Share of the result that was copied at rate 1.
    before, after
        Mean distance in seconds of the music's tracked beats from beats of the dance.
    """

    done: str = "nothing"
    why: str = ""
    per_beat: float = 1.0
    offset: float = 0.0
    slowest: float = 1.0
    fastest: float = 1.0
    untouched: float = 1.0
    before: float | None = None
    after: float | None = None

    @property
    def settings(self) -> dict[str, object]:
        """As values that JSON can hold."""
        return {key: round(v, 6) if isinstance(v, float) else v for key, v in asdict(self).items()}


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
        As in `Snap`.
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


def snap(
    samples: Samples,
    rate: int,
    beats: Array,
    dance: BeatMap,
    duration: float,
    bounds: Bounds | None = None,
    start: float | None = None,
) -> tuple[Samples, Snap]:
    """Bend music onto a dance.

    Parameters
    ----------
    samples
        (channels, n) float32, one or two channels; longer than the dance by `slack` or more, or there is little to
        choose from.
    rate
        Hz.
    beats
        (b,) beats of the music in seconds, rising, as a tracker hears them.
    dance
        Beats of the dance.
    duration
        Length of the result in seconds.
    bounds
        What may be done.
    start
        Moment of the music, in seconds, to begin at, up to half a beat before or behind; None chooses.

    Returns
    -------
    samples
        (channels, round(duration * rate)) float32.
    snap
        What was done.
    """
    bounds = bounds or Bounds()
    length = round(duration * rate)
    begin = 0 if start is None else max(round(start * rate), 0)
    plain = samples[:, begin : begin + length]
    if plain.shape[1] < length:
        plain = np.pad(plain, ((0, 0), (0, length - plain.shape[1])))
    why = reason_to_leave(beats, dance, bounds)
    if why:
        return plain, Snap(why=why, offset=begin / rate)
    zones = attacks(samples, rate) if bounds.spare_attacks else np.zeros((0, 2))
    found = best_fit(samples.shape[1] / rate, beats, dance.beats, duration, zones, bounds, start)
    if found is None:
        return plain, Snap(why=f"no stretch by up to {bounds.bend:.0%} fits", offset=begin / rate)
    goals = halved(dance.beats) if found.per_beat == 2.0 else dance.beats
    before = distance(beats - begin / rate, goals, duration)
    if before <= bounds.notice and before - found.missed < bounds.notice / 2:
        return plain, Snap(why="on the beat already", offset=begin / rate, before=before, after=before)
    time_map = found.time_map if found.even else spare(found.time_map, zones)
    bent = render(samples, rate, time_map, length)
    clock = np.linspace(0.0, duration, 1000)
    heard = (time_map.target[1:] > 0.0) & (time_map.target[:-1] < duration)
    rates = np.ones(1) if found.even else time_map.rates[heard]
    speed = np.diff(time_map.to_source(clock)) / np.diff(clock)
    return bent, Snap(
        "cut" if found.even else "bent",
        "",
        found.per_beat,
        float(time_map.to_source(np.zeros(1))[0]),
        float(rates.min()),
        float(rates.max()),
        float(np.mean(np.abs(speed - 1.0) < 1e-3)),
        before,
        distance(time_map.to_target(beats), goals, duration),
    )


def slack(dance: BeatMap, duration: float, bounds: Bounds | None = None) -> float:
    """Seconds that music should be longer than a dance, so that any phase and any stretch finds its material."""
    if len(dance.beats) < FEWEST_BEATS:
        return 0.0
    return (bounds or Bounds()).bend * duration + float(np.median(np.diff(dance.beats)))


def reason_to_leave(beats: Array, dance: BeatMap, bounds: Bounds) -> str:
    """Why music should not be snapped at all, "" where it may be."""
    if len(dance.beats) < FEWEST_BEATS:
        return "the dance has no beats"
    if bounds.steady_only and not dance.steady:
        return "the dance has no steady beat"
    if len(beats) < FEWEST_BEATS:
        return "the music has no beats"
    steps = np.diff(beats)
    if np.mean(np.abs(steps / np.median(steps) - 1.0) > 0.2) > UNSTEADY:
        return "the music has no steady beat"
    return ""


def halved(beats: Array) -> Array:
    """Beats and the moments halfway between them."""
    both: Array = np.sort(np.concatenate([beats, 0.5 * (beats[1:] + beats[:-1])]))
    return both


def distance(beats: Array, dance: Array, duration: float) -> float:
    """Mean distance in seconds of beats within 0 and the duration from the nearest beat of a dance, or half of one."""
    inside = beats[(beats >= 0.0) & (beats < duration)]
    if not len(inside):
        return float(np.median(np.diff(dance))) / 4
    return float(np.abs(inside[:, None] - dance[None]).min(axis=1).mean())


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
        As in `snap`.
    """
    best: Fit | None = None
    for per_beat in octaves(beats, dance, bounds):
        for source, target in pairings(beats, dance, per_beat, seconds, duration, bounds, start):
            found = fit(source, target, zones, bounds)
            if found is None or not _has_material(found.time_map, seconds, duration):
                continue
            if best is None or found.cost < best.cost - 1e-3:
                best = Fit(found.time_map, found.missed, found.bend, per_beat, found.even)
    return best


def octaves(beats: Array, dance: Array, bounds: Bounds) -> tuple[float, ...]:
    """Which octave brings the tempi within the bound, the nearest; none where none does."""
    ratio = float(np.median(np.diff(dance)) / np.median(np.diff(beats)))
    near = min(OCTAVES, key=lambda octave: abs(np.log(ratio / octave)))
    return (near,) if abs(np.log(ratio / near)) <= np.log1p(1.25 * bounds.bend) else ()


def pairings(
    beats: Array, dance: Array, per_beat: float, seconds: float, duration: float, bounds: Bounds, start: float | None
) -> Sequence[tuple[Array, Array]]:
    """All ways to give beats of the music to beats of the dance in order, that begin with what the music has.

    Parameters
    ----------
    beats, dance, seconds, duration, bounds, start
        As in `best_fit`.
    per_beat
        Beats of the music to one of the dance.

    Returns
    -------
    (p,) seconds of the music and (p,) seconds of the dance each.
    """
    if per_beat == 2.0:
        dance = halved(dance)
    every = 2 if per_beat == 0.5 else 1
    period = float(np.median(np.diff(beats)))
    found = []
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
            found.append((source, target))
    return found


def _has_material(time_map: TimeMap, seconds: float, duration: float) -> bool:
    """Whether all that would be heard is there, but for what rounding takes."""
    begin, end = time_map.to_source(np.array([0.0, duration]))
    return bool(begin >= -0.005 and end <= seconds + 0.005)


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
    count = len(source)
    rate_rows = np.zeros((max(count - 2, 0), 3))
    typical = float(np.median(steps))
    for k in range(count - 2):
        rate_rows[k] = np.array([1.0 / steps[k], -1.0 / steps[k] - 1.0 / steps[k + 1], 1.0 / steps[k + 1]]) * typical
    weights = np.ones(count)
    held = np.zeros(count - 1, dtype=int)
    times = target.copy()
    strong = 1e4
    for _ in range(ROUNDS):
        bands = np.zeros((5, count))
        right = weights * target
        bands[2] += weights
        for k in range(count - 2):
            row = STIFFNESS * rate_rows[k]
            for a in range(3):
                for b in range(3):
                    bands[2 + a - b, k + b] += row[a] * row[b]
        for k in np.flatnonzero(held).tolist():
            wanted = steps[k] * (most[k] if held[k] > 0 else least[k])
            bands[2, k] += strong
            bands[2, k + 1] += strong
            bands[1, k + 1] -= strong
            bands[3, k] -= strong
            right[k] -= strong * wanted
            right[k + 1] += strong * wanted
        times = solve_banded((2, 2), bands, right)
        taken = np.diff(times) / steps
        now = np.where(taken > most + 1e-4, 1, np.where(taken < least - 1e-4, -1, held))
        off = np.abs(times - target)
        new = OUTLIER / np.maximum(off, OUTLIER)
        if np.array_equal(now, held) and np.allclose(new, weights, atol=1e-3):
            break
        held, weights = now, new
    exact = np.clip(np.diff(times) / steps, least, most) * steps
    found: Array = times[0] + np.concatenate([[0.0], np.cumsum(exact)])
    return found
