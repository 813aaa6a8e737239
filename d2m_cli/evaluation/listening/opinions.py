"""Mean opinion scores (paper, Sec. 4.3) from the answers to a listening test, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError
from d2m_cli.evaluation.listening.answers import FORMAT_VERSION, SCALES, Answers, Key, read_answers, read_key
from d2m_cli.ground.statistics import RESAMPLES, Interval, draw_songs, percentiles, ratio

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Opinion:
    """Mean opinion score of one system on one scale.

    Attributes
    ----------
    system, scale
        Which.
    mean
        Mean of all ratings, 1 to 5; None where there is none.
    low, high
        Its 95 % interval, or None where fewer than two participants or two dances were rated.
    ratings, participants, clips
        How many there are.
    """

    system: str
    scale: str
    mean: float | None
    low: float | None
    high: float | None
    ratings: int
    participants: int
    clips: int


@dataclass(frozen=True)
class OpinionDifference:
    """How much higher one system was rated than another, by the same people for the same dances.

    Attributes
    ----------
    first, second, scale
        Which.
    mean
        Mean of first minus second, -4 to 4; None where nobody rated both.
    low, high
        Its 95 % interval, or None as in `Opinion`. Each holds for one comparison: of twenty pairs of
        equal systems, about one will seem to differ.
    pairs
        How many pairs of ratings there are.
    """

    first: str
    second: str
    scale: str
    mean: float | None
    low: float | None
    high: float | None
    pairs: int

    @property
    def verdict(self) -> str:
        """In words what the interval shows."""
        if self.low is None or self.high is None:
            return "too few ratings to tell"
        if self.low <= 0.0 <= self.high:
            return "no difference shown"
        return f"{self.first if self.low > 0.0 else self.second} is rated higher"


@dataclass(frozen=True)
class Repeat:
    """What one participant said to the same item the second time, less what they said at first."""

    participant: str
    clip: str
    system: str
    coherence: int
    quality: int


@dataclass(frozen=True)
class Unplayed:
    """An item that a participant's browser could not play, with the reason that the page noted."""

    participant: str
    clip: str
    system: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A file of answers that does not count, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class OpinionScores:
    """What the answers to one listening test say.

    Attributes
    ----------
    test
        Digest of the test.
    participants, clips
        How many people's answers count, and how many dances there are.
    opinions
        By system in the order of the key, and scale.
    differences
        Of all pairs of systems, by scale.
    repeats
        How steady participants are, one line for each who rated an item twice; second ratings count nowhere else.
    unplayed
        What was skipped since it could not be played.
    refused
        Files that are no answers to this test.
    replaced
        Files after which the same participant sent a later one.
    """

    test: str
    participants: int
    clips: int
    opinions: tuple[Opinion, ...]
    differences: tuple[OpinionDifference, ...]
    repeats: tuple[Repeat, ...]
    unplayed: tuple[Unplayed, ...]
    refused: tuple[LeftOut, ...]
    replaced: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        document = asdict(self)
        for difference, line in zip(self.differences, document["differences"], strict=True):
            line["verdict"] = difference.verdict
        for name in ("refused", "replaced"):
            for line in document[name]:
                line["path"] = str(line["path"])
        return {"format": "d2m-listening-scores", "version": FORMAT_VERSION, **document}


def score_answers(files: Iterable[Path], key: Path, resamples: int = RESAMPLES, seed: int = 0) -> OpinionScores:
    """Mean opinion scores from the files that participants sent back.

    A score is to hold for other people and other dances, so both are drawn with replacement, each on its own, and a
    rating counts as often as its participant times its dance was drawn (Owen, "The pigeonhole bootstrap", 2007). The
    usual interval over participants alone takes these very dances for all there are and is too narrow; a bootstrap over
    single ratings takes each of them for independent, and is narrower still. This one errs a little to the wide side.
    With fewer than about ten participants or dances it can still be too narrow.

    Parameters
    ----------
    files
        Files as the page saves them. One that is none, or is of another test, is left out and listed; of several by one
        participant (letter case aside) the one finished last counts.
    key
        KEY.json of the test.
    resamples, seed
        Bootstrap resamples of people and dances, and their random seed.

    Raises
    ------
    InputError
        The key is none, or none of the files can be used.
    """
    names = read_key(Path(key))
    latest: dict[str, Answers] = {}
    refused: list[LeftOut] = []
    replaced: list[LeftOut] = []
    for path in map(Path, files):
        try:
            answers = read_answers(path, names)
        except InputError as error:
            refused.append(LeftOut(path, str(error).removeprefix(f"{path}: ")))
            continue
        who = answers.participant.casefold()
        if who in latest:
            older, answers = sorted((latest[who], answers), key=lambda one: one.finished)
            replaced.append(LeftOut(older.path, f"{older.participant} finished {answers.path} later"))
        latest[who] = answers
    if not latest:
        reasons = "; ".join(f"{one.path}: {one.reason}" for one in refused[:5])
        raise InputError(f"no file of answers can be used: {reasons or 'none was given'}")
    return _scores(names, [latest[who] for who in sorted(latest)], refused, replaced, resamples, seed)


def _scores(
    key: Key,
    answers: Sequence[Answers],
    refused: Sequence[LeftOut],
    replaced: Sequence[LeftOut],
    resamples: int,
    seed: int,
) -> OpinionScores:
    values = np.full((len(answers), len(key.clips), len(key.systems), len(SCALES)), np.nan)
    unplayed: list[Unplayed] = []
    repeats: list[Repeat] = []
    for person, answer in enumerate(answers):
        for item, rating in answer.first.items():
            if isinstance(rating, str):
                unplayed.append(Unplayed(answer.participant, *key.of(item), rating))
            else:
                values[(person, *key.items[item])] = rating
        for item, rating in answer.again.items():
            before = answer.first[item]
            if not isinstance(rating, str) and not isinstance(before, str):
                change = (now - then for now, then in zip(rating, before, strict=True))
                repeats.append(Repeat(answer.participant, *key.of(item), *change))

    opinions: list[Opinion] = []
    for number, system in enumerate(key.systems):
        table = values[:, :, number]
        there = np.isfinite(table)
        for column, estimate in enumerate(_estimates(table, resamples, seed)):
            rated = there[:, :, column]
            people, clips = int(rated.any(axis=1).sum()), int(rated.any(axis=0).sum())
            opinions.append(Opinion(system, SCALES[column], *estimate, int(rated.sum()), people, clips))
    differences: list[OpinionDifference] = []
    for first, second in combinations(range(len(key.systems)), 2):
        table = values[:, :, first] - values[:, :, second]
        for column, estimate in enumerate(_estimates(table, resamples, seed)):
            count = int(np.isfinite(table[:, :, column]).sum())
            names = key.systems[first], key.systems[second]
            differences.append(OpinionDifference(*names, SCALES[column], *estimate, count))
    return OpinionScores(
        key.test,
        len(answers),
        len(key.clips),
        tuple(opinions),
        tuple(differences),
        tuple(repeats),
        tuple(unplayed),
        tuple(refused),
        tuple(replaced),
    )


def crossed_bootstrap(values: Array, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """95 % intervals of means over participants and dances, both drawn with replacement (see `score_answers`).

    Parameters
    ----------
    values
        (participants, clips, v); NaN where there is no value.
    resamples, seed
        As in `score_answers`.

    Returns
    -------
    (v,) each; NaN where fewer than two participants, or two clips, have a value.
    """
    people, clips, width = values.shape
    there = np.isfinite(values)
    weights = draw_songs(people, resamples, seed), draw_songs(clips, resamples, seed + 1)

    def drawn(table: Array) -> Array:
        by_clip = (weights[0] @ table.reshape(people, -1)).reshape(resamples, clips, width)
        return np.asarray(np.einsum("rc,rcv->rv", weights[1], by_clip))

    several = (there.any(axis=1).sum(axis=0) >= 2) & (there.any(axis=0).sum(axis=0) >= 2)
    means = ratio(drawn(np.where(there, values, 0.0)), drawn(there.astype(np.float64)))
    return percentiles(np.where(several, means, np.nan))


def _estimates(table: Array, resamples: int, seed: int) -> list[tuple[float | None, float | None, float | None]]:
    """Mean, low and high of each column, None where there is none."""
    interval = crossed_bootstrap(table, resamples, seed)
    columns = np.moveaxis(table, 2, 0)
    means = [column[np.isfinite(column)].mean() if np.isfinite(column).any() else np.nan for column in columns]

    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    lines = zip(means, interval.low, interval.high, strict=True)
    return [(known(mean), known(low), known(high)) for mean, low, high in lines]
