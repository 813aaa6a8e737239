"""How dancers mark the beat of a piece of music: passages, holds, hits off the beat, and beats left out.

`timeline.plan_accents` marks nearly every beat; real dances do not. Here a dance is a row of passages of four or eight
beats, each danced in one way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .skeleton import Array
from .timeline import MARGIN, Accent

CLOSEST = 0.22
"""Least seconds between two accents."""
KINDS = ("plain", "half", "double", "hold", "syncopated")
"""Every beat; every second one; twice a beat; one accent, then stillness; accents around the beats."""
SYNCOPATIONS = ((0.0, 1.5, 2.5), (0.0, 0.75, 1.5, 3.0), (0.5, 1.0, 2.5, 3.0), (0.0, 1.5, 3.0, 3.5))
"""Accents of four beats, in beats."""


@dataclass(frozen=True)
class Phrasing:
    """What one dancer makes of the beat.

    Attributes
    ----------
    jitter
        Standard deviation of the timing in seconds.
    shift
        How late all accents are, in seconds; negative is early.
    missed
        Share of the beats left out in plain passages.
    off
        Share of plain beats followed by a small hit half a beat later.
    stray
        Small hits per second at any time.
    kinds
        Weights of `KINDS`.
    """

    jitter: float = 0.015
    shift: float = 0.0
    missed: float = 0.2
    off: float = 0.1
    stray: float = 0.1
    kinds: tuple[float, ...] = (0.46, 0.26, 0.08, 0.10, 0.10)


def draw_phrasing(rng: np.random.Generator) -> Phrasing:
    """A dancer's habits by chance."""
    kinds = np.array(Phrasing.kinds) * rng.uniform(0.2, 1.8, len(KINDS))
    return Phrasing(
        jitter=float(rng.uniform(0.008, 0.035)),
        shift=float(rng.uniform(-0.020, 0.020)),
        missed=float(rng.uniform(0.05, 0.45)),
        off=float(rng.uniform(0.0, 0.25)),
        stray=float(rng.uniform(0.0, 0.2)),
        kinds=tuple(float(k) for k in kinds / kinds.sum()),
    )


def phrase(bpm: float, first: float, seconds: float, style: Phrasing, rng: np.random.Generator) -> list[Accent]:
    """The accents danced to a beat, from `MARGIN` before the clip to `MARGIN` after it.

    Parameters
    ----------
    bpm, first, seconds
        Tempo of the music, time of one of its beats, and length of the clip.
    style
        The dancer's habits.
    rng
        Source of all chance.

    Returns
    -------
    Accents in order of time. Their counts number the strong ones from a random count of eight, so that a family that
    leaves beats out still goes through all its figures; hits off the beat and strays are `off` and repeat a count.
    """
    period = 60.0 / bpm
    count = -int(np.ceil((MARGIN + first) / period))
    last = int((seconds + MARGIN - first) / period) + 1
    marks: list[tuple[float, bool]] = []
    count -= int(rng.integers(8))
    while count <= last:
        kind = str(rng.choice(KINDS, p=style.kinds))
        length = int(rng.choice([4, 8])) if kind not in ("hold", "syncopated") else 4
        marks += [(first + (count + at) * period, off) for at, off in _passage(kind, length, period, style, rng)]
        count += length
    strays = rng.uniform(-MARGIN, seconds + MARGIN, rng.poisson(style.stray * (seconds + 2 * MARGIN)))
    late = np.clip(rng.normal(0, style.jitter, len(marks)), -2.5 * style.jitter, 2.5 * style.jitter)
    timed = [(time + style.shift + float(d), off) for (time, off), d in zip(marks, late, strict=True)]
    number, accents = int(rng.integers(8)), list[Accent]()
    for time, off in _apart(sorted(timed), [(float(t), True) for t in sorted(strays)]):
        if -MARGIN <= time <= seconds + MARGIN:
            number += not off
            accents.append(Accent(time, number, off))
    return accents


def _passage(
    kind: str, length: int, period: float, style: Phrasing, rng: np.random.Generator
) -> list[tuple[float, bool]]:
    """Accents of one passage: time in beats from its start, and whether it is a small hit."""
    beats = np.arange(length, dtype=float)
    if kind == "half":
        return [(float(b), False) for b in beats[int(rng.integers(2)) :: 2]]
    if kind == "double" and period / 2 > CLOSEST + 0.02:
        return [(float(b), False) for b in np.arange(0, length, 0.5) if b % 1 == 0 or rng.random() < 0.8]
    if kind == "hold":
        return [(0.0, False)] + ([(3.0, False)] if rng.random() < 0.4 else [])
    if kind == "syncopated":
        return [(b, False) for b in SYNCOPATIONS[int(rng.integers(len(SYNCOPATIONS)))]]
    marks = []
    for b in beats:
        if rng.random() >= style.missed:
            marks.append((float(b), False))
        if rng.random() < style.off:
            marks.append((float(b) + 0.5, True))
    return marks


def _apart(marks: list[tuple[float, bool]], strays: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """All accents in order, without small hits, and then strong ones, that come too close to another."""
    kept: list[tuple[float, bool]] = []
    for group in ([m for m in marks if not m[1]], [m for m in marks if m[1]], strays):
        for mark in group:
            if all(abs(mark[0] - other[0]) >= CLOSEST for other in kept):
                kept.append(mark)
    return sorted(kept)


def marked_share(accents: Array, beats: Array, tolerance: float = 0.07) -> float:
    """Share of the beats with an accent within a tolerance in seconds."""
    if len(beats) == 0 or len(accents) == 0:
        return 0.0
    return float((np.abs(beats[:, None] - accents).min(1) <= tolerance).mean())
