"""How well music keeps time with a dance, over a data set: the rhythm side of evaluation.

::

    samples --Detections.from_audio--> Detections --+
                                                    +--Pair--summarise--> Summary (a system, beside what chance scores)
    a dance ---------detect_dance----> Detections --+                        |
                                                            two of them --compare--> differences between two systems

All higher figures are better, apart from the tempo error and the spreads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from d2m_cli.errors import InputError
from d2m_cli.evaluation.rhythm.beat_tracker import TRACKER
from d2m_cli.evaluation.rhythm.chance import DRAWS, TRUE_MUSIC, chance_floors
from d2m_cli.evaluation.rhythm.protocols import PROTOCOLS
from d2m_cli.evaluation.rhythm.scores import COLUMNS, Pair, PairScores, Scores, figures, overall, score_pair, scores_of
from d2m_cli.ground.statistics import RESAMPLES, bootstrap, paired_bootstrap
from d2m_cli.ground.words import count

NO_DIFFERENCE = "no difference shown"
ONE_SONG = "one song: no interval"
NO_VERDICT = "no verdict: onsets against beats"
"""Of measures that `d2m_cli.evaluation.results.Evaluation.no_verdict` names."""

Clips = Sequence[tuple[str, tuple[PairScores, ...]]]
"""Name of every clip, and its scores in each seed of a system."""


@dataclass(frozen=True)
class Summary:
    """What a system scores on a data set, beside what chance scores on it.

    Attributes
    ----------
    system
        The system's scores, with 95 % intervals by song, and by seed where there are several.
    floors
        Chance, by kind; see `d2m_cli.evaluation.rhythm.chance`.
    clips
        Name of every clip, and its scores in each seed of the system.
    remarks
        Clips that could not be scored and what else qualifies the figures, in words.
    tracker
        Name of the beat tracker.
    resamples, draws, seed
        Of the intervals and of chance.
    """

    system: Scores
    floors: tuple[Scores, ...]
    clips: tuple[tuple[str, tuple[PairScores, ...]], ...]
    remarks: tuple[str, ...]
    tracker: str
    resamples: int
    draws: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON can hold, with what each protocol means."""
        protocols = {
            protocol.name: {
                "beats": protocol.detector,
                "tolerance_seconds": protocol.tolerance,
                "bins_per_second": protocol.bins,
                "averaging": protocol.averaging.value,
                "source": protocol.source,
            }
            for protocol in PROTOCOLS
        }
        return {"protocols": protocols, **asdict(self)}


@dataclass(frozen=True)
class Difference:
    """How much higher a first system scores than a second one.

    Attributes
    ----------
    measure
        One of `d2m_cli.evaluation.rhythm.scores.COLUMNS`, such as "paper.f1".
    difference
        First minus second.
    low, high
        95 % interval by song; None for a single song.
    p
        Two-sided, by paired bootstrap; None for a single song.
    verdict
        "first is higher", "second is higher", "no difference shown" where the interval includes 0, that there is no
        interval (`ONE_SONG`), or that nothing follows from the measure (`NO_VERDICT`).
    """

    measure: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    verdict: str


def summarise(
    pairs: Sequence[Pair],
    name: str = "generated",
    resamples: int = RESAMPLES,
    draws: int = DRAWS,
    seed: int = 0,
    known_floors: Sequence[Scores] = (),
    reference: str = TRUE_MUSIC,
) -> Summary:
    """Score a data set.

    Parameters
    ----------
    pairs
        Its clips; the same ones of every seed.
    name
        Of the system.
    resamples
        Of songs and seeds, for the intervals.
    draws
        Of each kind of chance.
    seed
        Of both.
    known_floors
        Those of another system on the same references; see `d2m_cli.evaluation.rhythm.chance.chance_floors`.
    reference
        What the references are, in a word or two.

    Raises
    ------
    InputError
        There are no clips, two have the same name, or a seed has other ones.
    """
    runs = by_seed(pairs)
    songs = {pair.name: pair.song for pair in pairs}
    scored = [{pair.name: score_pair(pair.reference, pair.estimated) for pair in run} for run in runs]
    clips = [(name, tuple(run[name] for run in scored)) for name in songs]
    remarks = [
        f"{_whose(remark, run[0].seed if len(runs) > 1 else '')}{pair.name}: {remark}"
        for run, found in zip(runs, scored, strict=True)
        for pair in run
        for remark in found[pair.name].remarks
    ]
    if len(set(songs.values())) == 1:
        remarks.append("all clips are of one song: there are no intervals, and no floor from other songs")
    without = sum(pair.reference.bpm is None for pair in runs[0])
    if without:
        remarks.append(
            f"{count(without, 'reference has', 'references have')} no tempo: chance takes a random one there"
        )
    return Summary(
        score_clips(name, clips, songs, resamples, seed),
        chance_floors(pairs, draws, seed, known_floors, reference),
        tuple(clips),
        tuple(dict.fromkeys(remarks)),
        TRACKER,
        resamples,
        draws,
        seed,
    )


def _whose(remark: str, seed: str) -> str:
    # A reference is the same for all seeds.
    return f"{seed}: " if seed and remark.startswith("generated") else ""


def score_clips(name: str, clips: Clips, songs: Mapping[str, str], resamples: int = RESAMPLES, seed: int = 0) -> Scores:
    """Scores of a data set from those of its clips, with intervals.

    Parameters
    ----------
    name
        Of the system.
    clips
        Name of every clip, and its scores in each seed.
    songs
        Song of each clip, by its name.
    resamples, seed
        Of the intervals.
    """
    values, of_clips = table(clips), [songs[clip] for clip, _ in clips]
    interval = bootstrap(values, of_clips, overall, resamples, seed)
    return scores_of(name, len(clips), len(set(of_clips)), figures(values), interval)


def compare(
    first: Summary, second: Summary, songs: Mapping[str, str], no_verdict: Collection[str] = ()
) -> tuple[Difference, ...]:
    """Compare two systems on the same clips, whatever the number of seeds of each.

    Parameters
    ----------
    first, second
        Summaries of the same clips, in any order; intervals are drawn as those of the first.
    songs
        Song of each clip, by its name.
    no_verdict
        Those of `d2m_cli.evaluation.rhythm.scores.GROUPS` from which nothing follows.

    Returns
    -------
    One for each measure that both systems have a value of.

    Raises
    ------
    InputError
        The clips are not the same.
    """
    partners = dict(second.clips)
    lone = {name for name, _ in first.clips} ^ set(partners)
    if lone:
        raise InputError(f"only one of the two systems has {', '.join(sorted(lone)[:3])}: compare the same clips")
    values = table(first.clips), table([(name, partners[name]) for name, _ in first.clips])
    of_clips = [songs[name] for name, _ in first.clips]
    # The last column, the tempo error, is better when lower and has no mean that is printed.
    found = paired_bootstrap(*values, of_clips, overall, first.resamples, first.seed)
    bounds = np.stack([found.difference, found.interval.low, found.interval.high, found.p], axis=1)
    differences = [
        difference(measure, *line)
        for measure, line in zip(COLUMNS[:-1], bounds.tolist(), strict=False)
        if not np.isnan(line[0])
    ]
    return tuple(
        replace(one, verdict=NO_VERDICT) if one.measure.partition(".")[0] in no_verdict else one for one in differences
    )


def difference(measure: str, gain: float, low: float, high: float, p: float) -> Difference:
    """Put a difference and its interval into words."""
    if np.isnan(low):
        return Difference(measure, gain, None, None, None, ONE_SONG)
    verdict = "first is higher" if low > 0.0 else "second is higher" if high < 0.0 else NO_DIFFERENCE
    return Difference(measure, gain, low, high, p, verdict)


def table(clips: Clips) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(seeds, clips, `COLUMNS`) values."""
    lines = np.array([[one.values() for one in seeds] for _, seeds in clips], dtype=np.float64)
    return lines.reshape(len(clips), -1, len(COLUMNS)).swapaxes(0, 1)


def by_seed(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs of each seed; a data set that can't be scored is refused."""
    if not pairs:
        raise InputError("there are no clips to score")
    runs: dict[str, list[Pair]] = {}
    for pair in pairs:
        runs.setdefault(pair.seed, []).append(pair)
    names = {pair.name for pair in pairs}
    for seed, run in runs.items():
        counts = Counter(pair.name for pair in run)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise InputError(f"two clips are named {twice[0]}: give every clip its own name")
        lone = names - set(counts)
        if lone:
            raise InputError(f"seed {seed} has no {', '.join(sorted(lone)[:3])}: score the same clips of every seed")
    return list(runs.values())
