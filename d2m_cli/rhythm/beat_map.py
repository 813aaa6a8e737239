"""The beats of a dance: one tempo map for a video, and how sure its tempo is.

The grid is even unless the evidence for a drift or a change of tempo is strong (`tempo_map`). Several dancers vote:
each counts by how far its own reading agrees with that of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.track import CameraMotion, PoseTrack
from d2m_cli.rhythm import tempo_map
from d2m_cli.rhythm.beat_model import PHASES, BeatModel, Lattice, shipped_model
from d2m_cli.rhythm.evidence import RATE, Evidence, beat_evidence
from d2m_cli.rhythm.sequence import BeatMap

Array = NDArray[np.float64]

SHORTEST = 4.0
"""Seconds of dancing under which no beat is looked for."""
LEAST_MOVED = 0.15
"""Torso lengths a second under which a body rests."""
NEAR_SECONDS, NEAR_BEATS = 0.06, 0.5
"""Grids whose phase differs by less, and that drift apart by less over the clip, are the same reading."""


@dataclass(frozen=True)
class Reading:
    """The best even grid.

    Attributes
    ----------
    frequency
        Beats a second.
    first
        Time of one beat in seconds.
    mass
        Probability, by the network, of all grids that are hardly different.
    """

    frequency: float
    first: float
    mass: float


def find_beats(
    dancers: PoseTrack | Sequence[PoseTrack],
    camera: CameraMotion | None = None,
    duration: float | None = None,
    model: BeatModel | None = None,
) -> BeatMap:
    """Beats of a dance.

    Parameters
    ----------
    dancers
        One track, or those of all dancers who count. A track in which the dancer is lost for a while, or that is cut
        into several shots, keeps one map.
    camera
        Motion of the camera; None where it stands still.
    duration
        Length of the video in seconds; to the last frame where not given.
    model
        What was learned; the one that ships where not given.
    """
    tracks = [dancers] if isinstance(dancers, PoseTrack) else list(dancers)
    model = model or shipped_model()
    ends = [float(track.times[-1]) for track in tracks if len(track.times)]
    if not ends:
        return BeatMap.none()
    length = max(ends) if duration is None else duration
    steps = int(np.ceil(length * RATE - 1e-6)) + 1
    return map_beats([beat_evidence(track, camera, steps) for track in tracks], length, model)


def map_beats(evidence: Sequence[Evidence], duration: float, model: BeatModel) -> BeatMap:
    """Beats from the evidence of all dancers, who share one clock."""
    danced = [e for e in evidence if e.moved >= LEAST_MOVED and (e.known > 0.0).sum() >= SHORTEST * RATE]
    if not danced:
        return BeatMap.none()
    activations = [model.activation(e.values) for e in danced]
    lattices = [model.lattice(activation) for activation in activations]
    weights = agreement([probability(lattice, model) for lattice in lattices])
    whole = vote(lattices, weights)
    reading = best_grid(whole, model)
    seen = max(float((e.known > 0.0).sum()) for e in danced) / RATE
    confidence = model.confidence(confidence_features(reading, seen))
    beats = follow(activations, weights, reading, duration, model)
    if beats is None:
        period = 1.0 / reading.frequency
        beats = np.arange(reading.first % period, duration, period)
    return BeatMap.of(beats, confidence)


def probability(lattice: Lattice, model: BeatModel) -> Array:
    """Probability of each grid, (f, `PHASES`)."""
    scores = lattice.scores + model.log_prior(lattice.frequencies)[:, None]
    likely = np.exp(scores - scores.max())
    return np.asarray(likely / likely.sum(), dtype=np.float64)


def agreement(readings: Sequence[Array]) -> Array:
    """Weight of each dancer, (d,), adding up to 1: how much its probabilities overlap with the mean of the others'."""
    if len(readings) == 1:
        return np.ones(1)
    total = np.sum(readings, axis=0)
    overlap = np.array([np.sqrt(p * (total - p) / (len(readings) - 1)).sum() for p in readings])
    # A dancer who agrees with nobody still counts a little; two who differ count alike.
    overlap = overlap + 0.05
    return np.asarray(overlap / overlap.sum(), dtype=np.float64)


def vote(lattices: Sequence[Lattice], weights: Array) -> Lattice:
    """Mean of several dancers' scores over the same stretch."""
    first = lattices[0]
    scores = np.einsum("d,dfp->fp", weights, np.stack([lattice.scores for lattice in lattices]))
    return Lattice(scores, first.frequencies, first.centre, first.seconds)


def best_grid(lattice: Lattice, model: BeatModel) -> Reading:
    """The likeliest even grid; its phase is refined between the lattice's by a parabola."""
    likely = probability(lattice, model)
    row, column = np.unravel_index(int(likely.argmax()), likely.shape)
    frequency = float(lattice.frequencies[row])
    left, top, right = (float(np.log(likely[row, (column + d) % PHASES] + 1e-300)) for d in (-1, 0, 1))
    bend = left - 2.0 * top + right
    phase = float(column) + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)
    late = (np.arange(PHASES) - column + PHASES // 2) % PHASES - PHASES // 2
    same = np.abs(late) / PHASES / frequency < NEAR_SECONDS
    rows = np.abs(lattice.frequencies - frequency) * lattice.seconds < NEAR_BEATS
    mass = float(likely[rows][:, same].sum())
    return Reading(frequency, lattice.centre + phase / PHASES / frequency, min(mass, 1.0))


def confidence_features(reading: Reading, seconds: float) -> Array:
    """What `BeatModel.confidence` takes: log odds of the reading, bounded, and octaves of length beyond 10 s."""
    mass = float(np.clip(reading.mass, 0.01, 0.99))
    return np.array([np.log(mass / (1.0 - mass)), np.log2(min(seconds, 40.0) / 10.0)])


def follow(
    activations: Sequence[Array], weights: Array, reading: Reading, duration: float, model: BeatModel
) -> Array | None:
    """Beats along a path of changing tempo, where it is worth much more than the even grid; else None."""
    per_dancer = [tempo_map.windows(model, activation) for activation in activations]
    if not per_dancer[0]:
        return None
    lattices = [vote(same, weights) for same in zip(*per_dancer, strict=True)]
    prior = model.log_prior(lattices[0].frequencies)
    score, frequencies, phases = tempo_map.best_path(lattices, prior)
    even = tempo_map.even_score(lattices, prior, reading.frequency, reading.first)
    # Windows overlap by half, so that each moment is counted twice.
    if 0.5 * (score - even) < tempo_map.MARGIN:
        return None
    return tempo_map.beats_along(lattices, frequencies, phases, duration)
