"""From pairs of clips to the lines of a table: what each clip scores, and what a data set does.

A clip's scores are one line of numbers, so that intervals, comparisons and chance floors are computed on all of them at
once; NaN stands where a clip has no such score, and never leaves this room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.onsets import Times
from d2m_cli.evaluation.rhythm.protocols import PROTOCOLS, Counts
from d2m_cli.evaluation.rhythm.tempo import TOLERANCES, Continuity, TempoScore, score_continuity, score_tempo
from d2m_cli.ground.nearest import nearest
from d2m_cli.ground.statistics import Interval

Array = NDArray[np.float64]

SIGMA = 0.05
"""Seconds of the beat alignment score: 3 frames at 60 a second."""

PROTOCOL_MEASURES = ("bcs", "bhs", "f1")
TEMPO_MEASURES = tuple(f"accuracy{kind}_{round(100 * share)}" for share in TOLERANCES for kind in (1, 2))
COLUMNS: tuple[str, ...] = (
    *(f"{protocol.name}.{measure}" for protocol in PROTOCOLS for measure in PROTOCOL_MEASURES),
    *(f"tempo.{measure}" for measure in TEMPO_MEASURES),
    "continuity.cmlt",
    "continuity.amlt",
    "alignment.reference",
    "alignment.estimated",
    "tempo.octave_error",
)
"""What `PairScores.values` holds, in its order; all but the last are better when higher."""
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(column.partition(".")[0] for column in COLUMNS))
"""Protocols and other families of measures: what stands before the dot in `COLUMNS`."""
ONSET_GROUPS: tuple[str, ...] = tuple(protocol.name for protocol in PROTOCOLS if protocol.detector != "beats")
"""Those of `GROUPS` that compare onsets; the others compare beats."""
SPREADS: tuple[str, ...] = tuple(f"{protocol.name}.{name}" for protocol in PROTOCOLS for name in ("csd", "hsd"))
MEDIAN = "tempo.median_octave_error"
FIGURES: tuple[str, ...] = (*COLUMNS, *SPREADS, MEDIAN)
"""What `figures` holds, in its order."""


@dataclass(frozen=True)
class Pair:
    """One clip to judge.

    Attributes
    ----------
    name
        Of the clip; unique within a data set, but for the seeds of a system.
    song
        What clips that are no independent evidence share: the song, or the video.
    reference
        The true music, or the dance itself (`d2m_cli.evaluation.rhythm.dance_beats`).
    estimated
        The generated music.
    seed
        Name of the seed of the system that made it.
    """

    name: str
    song: str
    reference: Detections
    estimated: Detections
    seed: str = ""


@dataclass(frozen=True)
class PairScores:
    """What one clip scores.

    Attributes
    ----------
    counts
        Beats by protocol, in the order of `PROTOCOLS`.
    tempo
        None where the reference has no tempo.
    continuity
        None for clips under 10 s.
    alignment_reference, alignment_estimated
        Beat alignment score, 0 to 1: mean over the reference's beats (AIST++: over the dance's), and mean over the
        generated beats (Bailando, EDGE: over the music's).
    remarks
        What keeps the clip from being judged, in words.
    """

    counts: tuple[Counts, ...]
    tempo: TempoScore | None
    continuity: Continuity | None
    alignment_reference: float
    alignment_estimated: float
    remarks: tuple[str, ...]

    def values(self) -> list[float]:
        """`COLUMNS` of this clip; NaN where it has none."""
        line = [
            value for protocol, counts in zip(PROTOCOLS, self.counts, strict=True) for value in protocol.ratios(counts)
        ]
        if self.tempo is None:
            line += [np.nan] * len(TEMPO_MEASURES)
        else:
            for both in zip(self.tempo.accuracy1, self.tempo.accuracy2, strict=True):
                line += map(float, both)
        line += [np.nan, np.nan] if self.continuity is None else [self.continuity.cmlt, self.continuity.amlt]
        line += [self.alignment_reference, self.alignment_estimated]
        return [*line, np.nan if self.tempo is None else self.tempo.octave_error]


@dataclass(frozen=True)
class Estimate:
    """One figure of a data set.

    Attributes
    ----------
    value
        The figure.
    low, high
        Its 95 % interval by song (of a chance floor: the middle 95 % of the draws), or None where there is none: a
        single song.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ProtocolScores:
    """The columns of Table 1 under one protocol.

    Attributes
    ----------
    protocol
        Its name.
    bcs, bhs, f1
        Beat coverage, beat hits and their F1; see `d2m_cli.evaluation.rhythm.protocols`. F1 is None where the
        protocol has none.
    csd, hsd
        Standard deviation (ddof 1) over clips of BCS and BHS; None for a single clip.
    """

    protocol: str
    bcs: Estimate
    bhs: Estimate
    f1: Estimate | None
    csd: float | None
    hsd: float | None


@dataclass(frozen=True)
class TempoScores:
    """Shares of clips whose tempo is right; see `d2m_cli.evaluation.rhythm.tempo`.

    Attributes
    ----------
    accuracy1_4, accuracy2_4, accuracy1_8, accuracy2_8
        Right within 4 % or 8 %: as it is (1), and but for the metrical level (2).
    median_octave_error
        Median relative error modulo octave, 0 to 0.41.
    """

    accuracy1_4: Estimate
    accuracy2_4: Estimate
    accuracy1_8: Estimate
    accuracy2_8: Estimate
    median_octave_error: float


@dataclass(frozen=True)
class ContinuityScores:
    """Shares of beats that are right and follow right beats, over clips of 10 s or more."""

    cmlt: Estimate
    amlt: Estimate


@dataclass(frozen=True)
class Scores:
    """What one system, or chance, scores on a data set.

    Attributes
    ----------
    name
        Of the system or of the kind of chance.
    clips, songs
        How many there are.
    protocols
        One for each of `PROTOCOLS`.
    tempo
        None where no reference has a tempo.
    continuity
        None where no clip is long enough.
    alignment_reference, alignment_estimated
        Mean beat alignment scores; see `PairScores`.
    """

    name: str
    clips: int
    songs: int
    protocols: tuple[ProtocolScores, ...]
    tempo: TempoScores | None
    continuity: ContinuityScores | None
    alignment_reference: Estimate
    alignment_estimated: Estimate


def score_pair(reference: Detections, estimated: Detections, continuity: bool = True) -> PairScores:
    """Judge one clip under every protocol.

    Parameters
    ----------
    reference, estimated
        The true and the generated music.
    continuity
        Whether to compute CMLt and AMLt, which take longest.
    """
    remarks = [
        f"{side}: {remark}"
        for side, detections in (("reference", reference), ("generated", estimated))
        for remark in detections.remarks
    ]
    return PairScores(
        tuple(protocol.count(reference, estimated) for protocol in PROTOCOLS),
        score_tempo(reference.bpm, estimated.bpm),
        score_continuity(reference.beats, estimated.beats, reference.seconds) if continuity else None,
        beat_alignment(reference.beats, estimated.beats),
        beat_alignment(estimated.beats, reference.beats),
        tuple(remarks),
    )


def beat_alignment(times: Times, others: Times, sigma: float = SIGMA) -> float:
    """Beat alignment score: mean over times of exp(-d^2 / (2 sigma^2)), d the distance to the nearest of others.

    Over the dance's beats it is AIST++'s score (Li et al., "AI Choreographer", 2021), which more beats in the music can
    only raise; over the music's beats it is that of Bailando and EDGE. Their sigma is 3 frames at 60 a second.

    Parameters
    ----------
    times, others
        Seconds, rising.
    sigma
        Seconds.

    Returns
    -------
    0 to 1; 0 where one of them is empty.
    """
    if not len(times) or not len(others):
        return 0.0
    distance = np.abs(times - others[nearest(times, others)])
    return float(np.exp(-0.5 * (distance / sigma) ** 2).mean())


def overall(means: Array) -> Array:
    """Figures of data sets, (..., `COLUMNS`), from the means over their clips: F1 as each protocol has it."""
    found = means.copy()
    for number, protocol in enumerate(PROTOCOLS):
        start = len(PROTOCOL_MEASURES) * number
        found[..., start + 2] = protocol.overall_f1(means[..., start : start + 3])
    return found


def figures(values: Array) -> Array:
    """All `FIGURES` of a data set from the values of its clips; NaN where it has none.

    Parameters
    ----------
    values
        (clips, `COLUMNS`) or (seeds, clips, `COLUMNS`). Of several seeds all clips count alike, and spreads over clips
        are the mean of the seeds' own.
    """
    runs = values.reshape(-1, *values.shape[-2:])
    there = np.isfinite(runs)
    number = there.sum(axis=(0, 1))
    means = np.where(number > 0, np.where(there, runs, 0.0).sum(axis=(0, 1)) / np.maximum(number, 1), np.nan)
    spreads = [
        runs[..., COLUMNS.index(f"{protocol.name}.{measure}")].std(axis=1, ddof=1).mean()
        if runs.shape[1] > 1
        else np.nan
        for protocol in PROTOCOLS
        for measure in ("bcs", "bhs")
    ]
    errors = runs[there[..., -1], -1]
    return np.concatenate([overall(means), spreads, [np.median(errors) if len(errors) else np.nan]])


def scores_of(name: str, clips: int, songs: int, found: Array, interval: Interval) -> Scores:
    """Put (`FIGURES`,) and the intervals of the first of them into words."""
    number = dict(zip(FIGURES, found.tolist(), strict=True))
    low, high = (dict(zip(FIGURES, bound.tolist(), strict=False)) for bound in (interval.low, interval.high))

    def bound(side: dict[str, float], key: str) -> float | None:
        value = side.get(key, np.nan)
        return None if np.isnan(value) else value

    def estimate(key: str) -> Estimate:
        return Estimate(number[key], bound(low, key), bound(high, key))

    def has(key: str) -> bool:
        return not np.isnan(number[key])

    shares = {measure: estimate(f"tempo.{measure}") for measure in TEMPO_MEASURES}
    tempo = TempoScores(**shares, median_octave_error=number[MEDIAN])
    return Scores(
        name,
        clips,
        songs,
        tuple(
            ProtocolScores(
                protocol.name,
                estimate(f"{protocol.name}.bcs"),
                estimate(f"{protocol.name}.bhs"),
                estimate(f"{protocol.name}.f1") if has(f"{protocol.name}.f1") else None,
                bound(number, f"{protocol.name}.csd"),
                bound(number, f"{protocol.name}.hsd"),
            )
            for protocol in PROTOCOLS
        ),
        tempo if has(MEDIAN) else None,
        ContinuityScores(estimate("continuity.cmlt"), estimate("continuity.amlt")) if has("continuity.cmlt") else None,
        estimate("alignment.reference"),
        estimate("alignment.estimated"),
    )
