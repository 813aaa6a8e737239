"""Bend music so that its beats fall on those of a dance.

The beats of the music, as a tracker hears them, go to beats of the dance in order: which one the first goes to is
chosen, and the time between is stretched by a few per cent at most. Nothing is done where the dance shows no steady
beat, where the music has none, and where nobody would hear the difference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.alignment import FEWEST_BEATS, Bounds, best_fit, halved
from d2m_cli.generation.bend import attacks, render, spare
from d2m_cli.generation.music_beats import Onsets
from d2m_cli.ground.nearest import nearest

if TYPE_CHECKING:
    from d2m_cli.rhythm.sequence import BeatMap

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

NO_BEATS = "the music has no beats"
OTHER_TEMPO = "the music keeps another tempo"
ON_BEAT = "on the beat already"
UNSTEADY = 0.3
"""Share of tracked intervals that may differ from their median by a fifth; beyond, the music has no beat."""


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
    def landed(self) -> bool:
        """Whether the music's beats lie on those of the dance."""
        return self.done != "nothing" or self.why == ON_BEAT

    @property
    def settings(self) -> dict[str, object]:
        """As values that JSON can hold."""
        return {key: round(v, 6) if isinstance(v, float) else v for key, v in asdict(self).items()}


def snap(
    samples: Samples,
    rate: int,
    beats: Array,
    dance: BeatMap,
    duration: float,
    bounds: Bounds | None = None,
    start: float | None = None,
    zones: Array | None = None,
    *,
    in_place: bool = False,
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
    zones
        `attacks` of the music, where they are known already.
    in_place
        Whether the result may take the memory of `samples`, which are lost then.

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
    if not bounds.spare_attacks:
        zones = np.zeros((0, 2))
    elif zones is None:
        zones = attacks(samples, rate)
    found = best_fit(samples.shape[1] / rate, beats, dance.beats, duration, zones, bounds, start)
    if found is None:
        return plain, Snap(why=f"no stretch by up to {bounds.bend:.0%} fits", offset=begin / rate)
    goals = halved(dance.beats) if found.per_beat == 2.0 else dance.beats
    before = distance(beats - begin / rate, goals, duration)
    if before <= bounds.notice and before - found.missed < bounds.notice / 2:
        return plain, Snap(why=ON_BEAT, offset=begin / rate, before=before, after=before)
    time_map = found.time_map if found.even else spare(found.time_map, zones)
    bent = render(samples, rate, time_map, length, in_place=in_place)
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


def land(
    samples: Samples,
    rate: int,
    dance: BeatMap,
    duration: float,
    bounds: Bounds | None = None,
    start: float | None = None,
    onsets: Onsets | None = None,
    zones: Array | None = None,
    *,
    in_place: bool = False,
) -> tuple[Samples, Snap]:
    """Track the beats of music and bend them onto a dance; parameters and results as of `snap`.

    `onsets` are those of the music, where they are known already.
    """
    bounds = bounds or Bounds()
    beats, fit = np.zeros(0), 0.0
    if dance.bpm > 0.0:
        beats, fit = (onsets or Onsets.of(samples, rate)).follow_any(dance.bpm, bounds.bend)
    bent, done = snap(samples, rate, beats, dance, duration, bounds, start, zones, in_place=in_place)
    return bent, replace(done, why=OTHER_TEMPO) if fit > 0.0 and not len(beats) and done.why == NO_BEATS else done


def slack(dance: BeatMap, duration: float, bounds: Bounds | None = None) -> float:
    """Seconds that music should be longer than a dance, so that any phase and any stretch finds its material."""
    if len(dance.beats) < FEWEST_BEATS:
        return 0.0
    return (bounds or Bounds()).bend * duration + float(np.median(np.diff(dance.beats)))


def reason_to_leave(beats: Array, dance: BeatMap, bounds: Bounds) -> str:
    """Why music should not be snapped at all, "" where it may be."""
    if len(dance.beats) < FEWEST_BEATS:
        return f"the dance has fewer than {FEWEST_BEATS} beats"
    if bounds.steady_only and not dance.steady:
        return "the dance has no steady beat"
    if len(beats) < FEWEST_BEATS:
        return NO_BEATS
    steps = np.diff(beats)
    if np.mean(np.abs(steps / np.median(steps) - 1.0) > 0.2) > UNSTEADY:
        return "the music has no steady beat"
    return ""


def distance(beats: Array, dance: Array, duration: float) -> float:
    """Mean distance in seconds of beats within 0 and the duration from the nearest beat of a dance, or half of one."""
    inside = beats[(beats >= 0.0) & (beats < duration)]
    if not len(inside):
        return float(np.median(np.diff(dance))) / 4
    return float(np.abs(inside - dance[nearest(inside, dance)]).mean())
