"""Several takes of one window, and which of them suits the dance best.

A backbone hits the asked tempo within a few per cent, and its beats are stronger in one take than in another. So a
window is drawn more than once, and the take is kept that need be bent least and whose beats are strong where the dance
has its own, that joins what came before, and that is neither silent nor clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.alignment import Bounds, Fit, best_fit
from d2m_cli.generation.music_beats import Onsets
from d2m_cli.generation.windows import Window
from d2m_cli.rhythm.sequence import BeatMap, Rhythm

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

FRAMES_PER_SECOND = 100
REACH = 0.03
"""Seconds by which an onset may miss a beat and still count in full."""
FAINTEST = 0.1
"""Strength below which beats are as good as none."""
BEND, MISSED = 5.0, 10.0
"""What the mean bend, as a share, and the mean distance from a beat, in seconds, cost in units of log strength: 1 % of
bend as much as 5 ms, as in `Fit.cost`."""
SEAM, SILENCE, CLIPPING, EXAMPLE = 0.5, 4.0, 20.0, 2.0
"""The same for the part of the context that a take does not keep, for the shares of silence and of full scale, and for
likeness to the sound example."""
SILENT, FULL = 1e-3, 0.999
FRAME_SECONDS = 0.5
"""A pause of so long has no beat in it any more; shorter ones are part of music."""


@dataclass(frozen=True)
class Score:
    """How well one take suits.

    Attributes
    ----------
    total
        The higher the better.
    strength
        Onset strength on the dance's beats, once the take is bent onto them, over its mean; see `timeliness`.
    bend
        Root mean square of the changes of rate that it takes; None where takes are not to be bent, or none fits.
    missed
        Mean distance in seconds of its beats from the dance's after that; None likewise.
    seam
        Energy of the difference from the context over that of the context, up to 1; None in a first window.
    silence
        Share of half seconds under -60 dBFS.
    clipping
        Share of samples at full scale.
    example
        Cosine between what CLAP hears in the take and in the sound example; None where no CLAP model was given.
    """

    total: float
    strength: float
    bend: float | None
    missed: float | None
    seam: float | None
    silence: float
    clipping: float
    example: float | None

    @property
    def settings(self) -> dict[str, float | None]:
        """As values that JSON can hold; null is what was not scored."""
        return {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}


def wanted_times(rhythm: Rhythm, window: Window) -> Array:
    """Times in seconds from the window's start at which the dance asks for an onset: its beats, else its peaks."""
    times = (rhythm.beats.beats if rhythm.beats.steady else rhythm.peaks) - window.start
    inside: Array = times[(times >= 0) & (times < window.seconds)]
    return inside


def timeliness(samples: Samples, rate: int, times: Array) -> float:
    """How much stronger onsets are at given times than on the whole.

    Parameters
    ----------
    samples
        (channels, n) audio.
    rate
        Hz.
    times
        Seconds at which onsets are wanted.

    Returns
    -------
    Mean onset strength (librosa's spectral flux) within `REACH` of the times over its mean everywhere; 0 where there is
    nothing to compare.
    """
    import librosa

    hop = rate // FRAMES_PER_SECOND
    strength = librosa.onset.onset_strength(y=samples.mean(0), sr=rate, hop_length=hop)
    average = float(strength.mean())
    if not len(times) or average <= 0:
        return 0.0
    reach = round(REACH * FRAMES_PER_SECOND)
    near = [strength[max(0, at - reach) : at + reach + 1] for at in np.round(times * rate / hop).astype(int)]
    return float(np.mean([part.max() for part in near if len(part)])) / average


def laid(samples: Samples, rate: int, dance: BeatMap, window: Window, bounds: Bounds) -> Fit | None:
    """How a take can be laid under the dance at its window, at any phase; None where its tempo is another."""
    beats, _ = Onsets.of(samples, rate).follow_any(dance.bpm, bounds.bend)
    goals = dance.beats - window.start
    period = 60.0 / dance.bpm
    # A beat and the bend less than the take, so that every phase has its material.
    seconds = window.seconds / (1.0 + bounds.bend) - period
    goals = goals[(goals >= 0.0) & (goals < seconds)]
    if len(goals) < 2 or len(beats) < 2:
        return None
    return best_fit(window.seconds, beats, goals, seconds, np.zeros((0, 2)), bounds)


def score_take(
    samples: Samples,
    rate: int,
    rhythm: Rhythm,
    window: Window,
    context: Samples | None = None,
    bounds: Bounds | None = None,
    likeness: Callable[[Samples, int], float] | None = None,
) -> Score:
    """Score one take.

    Parameters
    ----------
    samples
        (channels, n) float32, of one window.
    rate
        Hz.
    rhythm
        Of the whole dance.
    window
        Where the take lies.
    context
        (channels, c) float32 that the take was to begin with, or None.
    bounds
        How it may be bent; None where it stays as it is.
    likeness
        Of samples at a rate to the sound example, where there is one.
    """
    bend: float | None = None
    missed: float | None = None
    cost, times = 0.0, wanted_times(rhythm, window)
    if bounds is not None:
        fit = laid(samples, rate, rhythm.beats, window, bounds)
        if fit is None:
            cost = BEND * bounds.bend + MISSED * 0.25 * 60.0 / rhythm.beats.bpm
        else:
            bend, missed = fit.bend, fit.missed
            cost = BEND * bend + MISSED * missed
            times = fit.time_map.to_source(times)
            times = times[(times >= 0.0) & (times < window.seconds)]
    strength = timeliness(samples, rate, times)
    seam = None if context is None else mismatch(samples, context)
    silence, clipping = silent_share(samples, rate), float(np.mean(np.abs(samples) >= FULL))
    example = None if likeness is None else likeness(samples, rate)
    total = float(np.log(max(strength, FAINTEST))) - cost - SEAM * (seam or 0.0) - SILENCE * silence
    total += EXAMPLE * (example or 0.0) - CLIPPING * clipping
    return Score(total, strength, bend, missed, seam, silence, clipping, example)


def mismatch(samples: Samples, context: Samples) -> float:
    """Energy of the difference between the beginning of a take and what it was to begin with, over the latter's."""
    length = min(samples.shape[1], context.shape[1])
    wanted = context[:, :length].astype(np.float64)
    energy = float((wanted**2).sum())
    return min(float(((samples[:, :length] - wanted) ** 2).sum()) / energy, 1.0) if energy > 0.0 else 0.0


def silent_share(samples: Samples, rate: int) -> float:
    """Share of frames of `FRAME_SECONDS` whose level lies under `SILENT`."""
    size = round(FRAME_SECONDS * rate)
    mono = samples.astype(np.float64).mean(0)
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    return float(np.mean(np.sqrt(np.mean(frames**2, axis=1)) < SILENT)) if len(frames) else 1.0


def best_of(scores: Sequence[Score]) -> int:
    """Number of the best take; the first of equals."""
    return int(np.argmax([score.total for score in scores]))
