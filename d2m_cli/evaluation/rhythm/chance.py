"""What chance scores: the floor under every figure.

Onsets are dense and 0.2 s is wide: a metronome that never saw the dance aligns half of its beats or more. So every
table prints what each of these would score, drawn many times over the same clips and put through the same protocols:

- a metronome at the reference's tempo, started at random: what knowing the tempo alone is worth;
- a metronome at a random tempo, started at random: what knowing nothing is worth;
- the true music of another song: what being music is worth (where the reference is a dance, its dance);
- the generated music of another song: what the system scores without looking at this dance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from d2m_cli.evaluation.rhythm.beat_tracker import HIGHEST_BPM, LOWEST_BPM
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.scores import COLUMNS, FIGURES, Pair, Scores, figures, score_pair, scores_of
from d2m_cli.ground.statistics import percentiles

DRAWS = 200
CONTINUITY_DRAWS = 20
"""Draws that CMLt and AMLt are computed for: they take longer than all else together."""

TRUE_MUSIC = "true music"
OWN_MUSIC = "generated music of another song"
"""The kind of chance that is another for every system."""

Guess = Callable[[np.random.Generator, Pair], Detections]


@dataclass(frozen=True)
class Kind:
    """A kind of chance.

    Attributes
    ----------
    name
        As tables print it.
    guess
        Draws what a system of this kind would play for a clip.
    """

    name: str
    guess: Guess


def metronome(rng: np.random.Generator, seconds: float, bpm: float) -> Detections:
    """Even beats from a random start on."""
    period = 60.0 / bpm
    return Detections.at(np.arange(rng.uniform(0.0, period), seconds, period), seconds, bpm)


def random_bpm(rng: np.random.Generator) -> float:
    """A tempo from `LOWEST_BPM` to `HIGHEST_BPM`, even on a scale of octaves."""
    return float(np.exp(rng.uniform(np.log(LOWEST_BPM), np.log(HIGHEST_BPM))))


def chance_floors(
    pairs: Sequence[Pair],
    draws: int = DRAWS,
    seed: int = 0,
    known: Sequence[Scores] = (),
    reference: str = TRUE_MUSIC,
) -> tuple[Scores, ...]:
    """What chance scores on a data set, by kind.

    Parameters
    ----------
    pairs
        The clips; nothing but the references, and the other songs' music, is used. Of a system with several seeds one
        is guessed in each draw, and the music of all may be taken for another song's.
    draws
        How many times all clips are guessed.
    seed
        The same seed guesses the same.
    known
        Floors of another system on the same references with the same draws and seed: those in which a system's music
        has no part are taken over.
    reference
        What the references are, in a word or two: goes into the name of the floor that plays another song's.

    Returns
    -------
    Means over the draws, with the middle 95 % of the draws as interval. Where the reference of a clip has no tempo, a
    random one stands in. The two kinds that play other songs are absent from a data set of one song.
    """
    clips = [pair for pair in pairs if pair.seed == pairs[0].seed]
    songs = len({pair.song for pair in pairs})
    kinds = [
        Kind(
            "metronome at the true tempo",
            lambda rng, pair: metronome(rng, pair.reference.seconds, pair.reference.bpm or random_bpm(rng)),
        ),
        Kind("metronome at a random tempo", lambda rng, pair: metronome(rng, pair.reference.seconds, random_bpm(rng))),
    ]
    if songs > 1:
        kinds += [
            Kind(f"{reference} of another song", other_song(clips, [clip.reference for clip in clips])),
            Kind(OWN_MUSIC, other_song(pairs, [pair.estimated for pair in pairs])),
        ]
    drawn = {scores.name: scores for scores in known if scores.name != OWN_MUSIC}
    return tuple(
        drawn.get(kind.name) or floor(kind, clips, songs, draws, (seed, number)) for number, kind in enumerate(kinds)
    )


def other_song(pairs: Sequence[Pair], music: Sequence[Detections]) -> Guess:
    """Music of a clip of any other song, all of them alike."""
    others = {
        song: [detections for detections, pair in zip(music, pairs, strict=True) if pair.song != song]
        for song in {pair.song for pair in pairs}
    }
    return lambda rng, pair: others[pair.song][rng.integers(len(others[pair.song]))]


def floor(kind: Kind, pairs: Sequence[Pair], songs: int, draws: int, seed: tuple[int, int]) -> Scores:
    """Guess all clips many times and judge each time as a system is judged."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((draws, len(FIGURES)))
    for draw in range(draws):
        guesses = [kind.guess(rng, pair) for pair in pairs]
        lines = [
            score_pair(pair.reference, guess, draw < CONTINUITY_DRAWS).values()
            for pair, guess in zip(pairs, guesses, strict=True)
        ]
        drawn[draw] = figures(np.array(lines).reshape(len(pairs), len(COLUMNS)))
    there = np.isfinite(drawn)
    means = np.where(
        there.any(axis=0), np.where(there, drawn, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1), np.nan
    )
    return scores_of(kind.name, len(pairs), songs, means, percentiles(drawn))
