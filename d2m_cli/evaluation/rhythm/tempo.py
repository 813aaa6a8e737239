"""Tempo of beats, how far two tempi are apart, and how long beats stay together (CMLt, AMLt).

An estimated tempo is right (accuracy 1) within 4 % or 8 % of the reference, and right but for the metrical level
(accuracy 2) within as much of its half, third, double or triple: Gouyon et al., "An Experimental Comparison of Audio
Tempo Induction Algorithms", 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

FEWEST_BEATS = 3
TOLERANCES = (0.04, 0.08)
LEVELS = (1.0, 0.5, 2.0, 1.0 / 3.0, 3.0)
LARGEST_ERROR = float(np.sqrt(2.0) - 1.0)
"""Of a tempo modulo octave: half an octave too fast."""
LONG_ENOUGH = 10.0
"""Seconds from which continuity says something: a break costs half a clip of 5 s."""


@dataclass(frozen=True)
class TempoScore:
    """How near an estimated tempo is to the reference's.

    Attributes
    ----------
    accuracy1, accuracy2
        For each of `TOLERANCES`, whether the tempo is right, and whether it is but for the metrical level.
    octave_error
        Relative error once doubled or halved into half an octave of the reference, 0 to `LARGEST_ERROR`.
    """

    accuracy1: tuple[bool, bool]
    accuracy2: tuple[bool, bool]
    octave_error: float


@dataclass(frozen=True)
class Continuity:
    """Shares of beats that are right and follow right beats, 0 to 1.

    Attributes
    ----------
    cmlt
        At the reference's metrical level.
    amlt
        At its level, twice, half or a third of it, or on the off-beats.
    """

    cmlt: float
    amlt: float


def beats_tempo(beats: Times) -> float | None:
    """Tempo in beats per minute, as the straight line through beats and their numbers; beats may be missing.

    None with fewer than three beats.
    """
    if len(beats) < FEWEST_BEATS:
        return None
    steps = np.diff(beats)
    number = np.concatenate([[0.0], np.cumsum(np.maximum(np.round(steps / np.median(steps)), 1.0))])
    centred = number - number.mean()
    return 60.0 / float(centred @ (beats - beats.mean()) / (centred @ centred))


def score_tempo(reference: float | None, estimated: float | None) -> TempoScore | None:
    """Compare two tempi in beats per minute; None without a reference. Without an estimate all is wrong."""
    if reference is None:
        return None
    if estimated is None:
        return TempoScore((False, False), (False, False), LARGEST_ERROR)
    off = [abs(estimated / (level * reference) - 1.0) for level in LEVELS]
    octaves = np.log2(estimated / reference)
    return TempoScore(
        (off[0] <= TOLERANCES[0], off[0] <= TOLERANCES[1]),
        (min(off) <= TOLERANCES[0], min(off) <= TOLERANCES[1]),
        abs(float(2.0 ** (octaves - np.round(octaves))) - 1.0),
    )


def score_continuity(reference: Times, estimated: Times, seconds: float) -> Continuity | None:
    """CMLt and AMLt by `mir_eval.beat.continuity`.

    All beats count: `mir_eval.beat.trim_beats`, which drops those before 5 s, is not used.

    Parameters
    ----------
    reference, estimated
        (b,) seconds, rising.
    seconds
        Length of the clip.

    Returns
    -------
    None for less than `LONG_ENOUGH` seconds; zeros with fewer than two beats on either side.
    """
    if seconds < LONG_ENOUGH:
        return None
    if len(reference) < 2 or len(estimated) < 2:
        return Continuity(0.0, 0.0)
    import mir_eval.beat

    _, cmlt, _, amlt = mir_eval.beat.continuity(reference, estimated)
    return Continuity(float(cmlt), float(amlt))
