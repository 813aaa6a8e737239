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
from d2m_cli.ground.compiled import librosa_with
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
SEAM, SILENCE, CLIPPING, EXAMPLE, PROMPT = 0.05, 4.0, 20.0, 2.0, 2.0
"""The same for a decibel of distance from the context, for the shares of silence and of full scale, and for likeness to
the sound example and to the words of the prompt."""
BANDS, FAINT_DB = 48, 40.0
"""Bands in which a take is held beside its context, and decibels below the mean under which nothing is told apart."""
SILENT, FULL = 1e-3, 0.999
FRAME_SECONDS = 0.5
"""A pause of so long has no beat in it any more; shorter ones are part of music."""


@dataclass(frozen=True)
class Likeness:
    """What CLAP makes of a take.

    Attributes
    ----------
    example, prompt
        Cosine between what it hears in the take and in the sound example, and to what it reads in the prompt; None
        where there is none, or it can't read.
    """

    example: float | None = None
    prompt: float | None = None


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
        Distance in decibels from the context at its beginning, see `mismatch`; None in a first window.
    silence
        Share of half seconds under -60 dBFS.
    clipping
        Share of samples at full scale.
    example, prompt
        As in `Likeness`; None where no CLAP model was given.
    """

    total: float
    strength: float
    bend: float | None
    missed: float | None
    seam: float | None
    silence: float
    clipping: float
    example: float | None
    prompt: float | None

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
    librosa = librosa_with("onset")

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
    likeness: Callable[[Samples, int], Likeness] | None = None,
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
        What CLAP makes of samples at a rate, where it is at hand.
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
    seam = None if context is None else mismatch(samples, context, rate)
    silence, clipping = silent_share(samples, rate), float(np.mean(np.abs(samples) >= FULL))
    like = Likeness() if likeness is None else likeness(samples, rate)
    total = float(np.log(max(strength, FAINTEST))) - cost - SEAM * (seam or 0.0) - SILENCE * silence
    total += EXAMPLE * (like.example or 0.0) + PROMPT * (like.prompt or 0.0) - CLIPPING * clipping
    return Score(total, strength, bend, missed, seam, silence, clipping, like.example, like.prompt)


def mismatch(samples: Samples, context: Samples, rate: int) -> float:
    """How far the beginning of a take is from what it was to begin with, by ear.

    Spectra are compared and not waveforms: models that draw spectrograms find phases of their own, and no sample of
    what they repeat is the same.

    Parameters
    ----------
    samples, context
        (channels, n) audio; as much of both is heard as the shorter has.
    rate
        Hz.

    Returns
    -------
    Mean absolute difference in decibels of the power in `BANDS` bands every hundredth of a second, whatever the gain;
    0 where the context is silent.
    """
    length = min(samples.shape[1], context.shape[1])
    if not np.any(context[:, :length]):
        return 0.0
    levels = [_band_levels(part[:, :length], rate) for part in (samples, context)]
    return float(np.mean(np.abs(levels[0] - levels[1])))


def _band_levels(samples: Samples, rate: int) -> Array:
    """(bands, frames) power in decibels over its mean, `FAINT_DB` below it at least."""
    librosa = librosa_with("onset")

    size = 2 ** round(np.log2(rate / 12))
    padded = np.pad(samples.mean(0), (0, max(size - samples.shape[1], 0)))
    power = librosa.feature.melspectrogram(
        y=padded, sr=rate, n_fft=size, hop_length=rate // FRAMES_PER_SECOND, n_mels=BANDS, fmax=min(8000.0, rate / 2)
    ).astype(np.float64)
    levels: Array = 10.0 * np.log10(power / max(float(power.mean()), 1e-20) + 10.0 ** (-FAINT_DB / 10.0))
    return levels


def silent_share(samples: Samples, rate: int) -> float:
    """Share of frames of `FRAME_SECONDS` whose level lies under `SILENT`."""
    size = round(FRAME_SECONDS * rate)
    mono = samples.astype(np.float64).mean(0)
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    return float(np.mean(np.sqrt(np.mean(frames**2, axis=1)) < SILENT)) if len(frames) else 1.0


def best_of(scores: Sequence[Score]) -> int:
    """Number of the best take; the first of equals."""
    return int(np.argmax([score.total for score in scores]))
