"""How far a figure can be trusted: percentile intervals from clips resampled by song.

Clips of one song share its tempo and sound, so they are no independent evidence: whole songs are drawn with
replacement, all clips of a song together. A data set of one song says nothing about others, and has no interval. With
few songs the intervals are too narrow; under about ten of them should be read as a lower bound of the doubt.

Where a system made the same clips with several random seeds, songs and seeds are both drawn, each on its own, and a
clip counts as often as its song times its seed was drawn (Owen, "The pigeonhole bootstrap", 2007). Of S seeds S - 1 are
drawn, which gives the mean over seeds the right variance (Rao and Wu, "Resampling inference with complex survey data",
1988); drawing S would halve that of two seeds. Of one seed nothing is known about others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]

RESAMPLES = 2000
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """95 % intervals of several figures, NaN where there is none.

    Attributes
    ----------
    low, high
        (f,) in the unit of each figure.
    """

    low: Array
    high: Array


@dataclass(frozen=True)
class PairedDifference:
    """How much higher a first system scores than a second one on the same clips.

    Attributes
    ----------
    difference
        (f,) first minus second.
    interval
        Of that, at 95 %.
    p
        (f,) two-sided: twice the smaller share of resamples on one side of 0; NaN where there is no interval.
    """

    difference: Array
    interval: Interval
    p: Array


def bootstrap(
    values: Array, songs: Sequence[Hashable], statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Intervals of figures that follow from means over clips.

    Parameters
    ----------
    values
        (clips, v) one line a clip, or (seeds, clips, v); NaN where a clip has no such value, which then counts neither
        way.
    songs
        Song of each clip.
    statistic
        Function of means (..., v) that gives one figure for each of them, (..., v).
    resamples
        How many times songs are drawn.
    seed
        Random seed of the draws, which has nothing to do with those of a system.

    Returns
    -------
    NaN for figures that fewer than two songs have a value for.
    """
    sums, counts = by_song(values, songs)
    drawn = means(sums, counts, draw_songs(sums.shape[1], resamples, seed), draw_seeds(len(sums), resamples, seed + 1))
    return percentiles(statistic(drawn), of_several_songs(counts))


def paired_bootstrap(
    first: Array,
    second: Array,
    songs: Sequence[Hashable],
    statistic: Statistic,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Compare two systems on the same clips; both see the same songs in each resample.

    Parameters
    ----------
    first, second
        (clips, v) or (seeds, clips, v) values of each system for the same clips in the same order; seeds of one system
        have nothing to do with those of the other, and may be more or fewer. A value that all seeds of a system lack
        counts for neither.
    songs, statistic, resamples, seed
        As in `bootstrap`.
    """
    if first.shape[-2:] != second.shape[-2:]:
        raise ValueError(f"two systems have values of different shapes, {first.shape} and {second.shape}")
    runs = [values.reshape(-1, *values.shape[-2:]) for values in (first, second)]
    lacking = np.any([np.isnan(values).all(axis=0) for values in runs], axis=0)
    tables = [by_song(np.where(lacking, np.nan, values), songs) for values in runs]
    weights = draw_songs(tables[0][0].shape[1], resamples, seed)
    drawn = [
        statistic(means(*table, weights, draw_seeds(len(table[0]), resamples, seed + number)))
        for number, table in enumerate(tables, start=1)
    ]
    whole = [statistic(ratio(sums.sum(axis=(0, 1)), counts.sum(axis=(0, 1)))) for sums, counts in tables]
    gain = drawn[0] - drawn[1]
    interval = percentiles(gain, of_several_songs(tables[0][1]))
    valid = np.isfinite(gain).sum(axis=0)
    below, above = (gain <= 0.0).sum(axis=0), (gain >= 0.0).sum(axis=0)
    p = np.minimum(2.0 * (np.minimum(below, above) + 1) / (valid + 1), 1.0)
    return PairedDifference(whole[0] - whole[1], interval, np.where(np.isnan(interval.low), np.nan, p))


def by_song(values: Array, songs: Sequence[Hashable]) -> tuple[Array, Array]:
    """Sum of the values of each seed and song and how many there are, (seeds, songs, v) each.

    Songs stand in order of first appearance. `values` are (clips, v) or (seeds, clips, v).
    """
    clips = values.reshape(-1, *values.shape[-2:]).swapaxes(0, 1)
    if len(clips) != len(songs):
        raise ValueError(f"{len(clips)} clips, but {len(songs)} songs")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(song, len(numbers)) for song in songs], dtype=np.intp)
    sums = np.zeros((len(numbers), *clips.shape[1:]))
    counts = np.zeros_like(sums)
    there = np.isfinite(clips)
    np.add.at(sums, index, np.where(there, clips, 0.0))
    np.add.at(counts, index, there.astype(np.float64))
    return sums.swapaxes(0, 1), counts.swapaxes(0, 1)


def draw_songs(songs: int, resamples: int, seed: int) -> Array:
    """How often each song is drawn, (resamples, songs)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(songs, np.full(songs, 1.0 / songs), size=resamples).astype(np.float64)


def draw_seeds(seeds: int, resamples: int, seed: int) -> Array:
    """How often each random seed of a system is drawn, (resamples, seeds): one fewer than there are, and 1 of 1."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(max(seeds - 1, 1), np.full(seeds, 1.0 / seeds), size=resamples).astype(np.float64)


def means(sums: Array, counts: Array, songs: Array, seeds: Array) -> Array:
    """Means over the songs and seeds that are drawn, (resamples, v).

    Parameters
    ----------
    sums, counts
        (seeds, songs, v) as `by_song` gives them.
    songs, seeds
        (resamples, songs) and (resamples, seeds): how often each is drawn.
    """
    total, number = (
        sum(often[:, None] * (songs @ table) for often, table in zip(seeds.T, tables, strict=True))
        for tables in (sums, counts)
    )
    return ratio(np.asarray(total), np.asarray(number))


def ratio(sums: Array, counts: Array) -> Array:
    """Means from sums and numbers of values; NaN where there are none."""
    return np.where(counts > 0.0, sums / np.where(counts > 0.0, counts, 1.0), np.nan)


def of_several_songs(counts: Array) -> NDArray[np.bool_]:
    """Which values at least two songs have, (v,), from their numbers by seed and song."""
    return np.asarray((counts > 0.0).any(axis=0).sum(axis=0) >= 2, dtype=np.bool_)


def percentiles(drawn: Array, wanted: NDArray[np.bool_] | None = None) -> Interval:
    """The middle 95 % of (resamples, f) figures, resamples without a value left out; NaN where not wanted."""
    tail = 0.5 * (1.0 - COVERAGE)
    empty = ~np.isfinite(drawn).any(axis=0)
    if wanted is not None:
        empty |= ~wanted
    low, high = np.nanquantile(np.where(empty, 0.0, drawn), [tail, 1.0 - tail], axis=0)
    return Interval(np.where(empty, np.nan, low), np.where(empty, np.nan, high))
