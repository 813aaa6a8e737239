"""What an evaluation finds: scores of each system, differences between them, and what qualifies the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from d2m_cli import __version__
from d2m_cli.evaluation.pairing import Missing
from d2m_cli.evaluation.rhythm.scores import Estimate, Scores
from d2m_cli.evaluation.rhythm.summary import Difference, Summary

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import GenreScores
    from d2m_cli.evaluation.sound.frechet import Distance

FORMAT, FORMAT_VERSION = "d2m-evaluation", 2


@dataclass(frozen=True)
class TextScore:
    """How well music follows its prompts.

    Attributes
    ----------
    score
        Mean cosine of sound and text in CLAP, -1 to 1, with its interval by song.
    clips
        How many have a prompt and are long enough.
    """

    score: Estimate
    clips: int


@dataclass(frozen=True)
class GenreResult:
    """What one classifier predicts for the music of a system.

    Attributes
    ----------
    scores
        Means over clips.
    estimates
        By `d2m_cli.evaluation.genre.divergence.GENRE_COLUMNS` those that there are, with their intervals by song.
    no_verdict
        Why nothing follows from them, in words; "" where something may. See `d2m_cli.evaluation.genre.judge`.
    doubt
        What is not known of that, in words, or "".
    """

    scores: GenreScores
    estimates: Mapping[str, Estimate]
    no_verdict: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class SystemResult:
    """What one system scores.

    Attributes
    ----------
    name
        Of the system.
    rhythm
        Rhythm scores and chance floors.
    distances
        FAD, FAD-infinity and KAD by each embedder.
    genres
        By each classifier.
    text
        None without CLAP or prompts.
    remarks
        Clips that an embedder or CLAP could not take, in words.
    seeds
        Names of its seeds, each a folder with the same clips. With two or more, figures are means over seeds and
        intervals draw songs and seeds; with one, intervals leave out what another seed would change.
    """

    name: str
    rhythm: Summary
    distances: tuple[Distance, ...]
    genres: tuple[GenreResult, ...]
    text: TextScore | None
    remarks: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Ceiling:
    """What the true music itself scores when it is heard and judged as a system's music is.

    Attributes
    ----------
    rhythm
        Its rhythm scores against the same reference.
    by_construction
        Those of `d2m_cli.evaluation.rhythm.scores.GROUPS` whose reference was found in this very music. Their figures
        are perfect wherever anything was found, which shows nothing.
    genres
        By each classifier. Without divergence from the true music, which would be 0 by construction.
    text
        None without CLAP or prompts.
    """

    rhythm: Scores
    by_construction: tuple[str, ...]
    genres: tuple[GenreResult, ...] = ()
    text: TextScore | None = None

    def shows(self, group: str) -> bool:
        """Whether its figures of one of `GROUPS` were measured, and are not perfect by construction."""
        return group not in self.by_construction


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same clips.

    Attributes
    ----------
    first, second
        Their names.
    differences
        First minus second, paired by song.
    seeds
        How many seeds each of them has.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    seeds: tuple[int, int] = (1, 1)

    @property
    def one_seed(self) -> bool:
        """Whether a verdict rests on one seed of either system, which another seed might turn."""
        return min(self.seeds) == 1


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes
    ----------
    clips, songs
        How many were scored.
    reference
        What the beats were compared with, in words.
    systems, comparisons
        In the order of the systems.
    missing
        Clips that only some systems have, or whose audio can't be read.
    remarks
        What qualifies the figures, in words.
    ceiling
        What the true music scores; None where there is none.
    no_verdict
        Those of `d2m_cli.evaluation.rhythm.scores.GROUPS` that count onsets of the music against beats, of a dance or
        known ones: true music can score less by them than music that fits worse, so nothing follows from them.
    """

    clips: int
    songs: int
    reference: str
    systems: tuple[SystemResult, ...]
    comparisons: tuple[Comparison, ...]
    missing: tuple[Missing, ...]
    remarks: tuple[str, ...]
    ceiling: Ceiling | None = None
    no_verdict: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as values that JSON can hold; what is not a number is null."""
        document: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION, "d2m": __version__}
        document |= asdict(self)
        for system, found in zip(document["systems"], self.systems, strict=True):
            system["rhythm"] = found.rhythm.to_json()
        plain = _plain(document)
        assert isinstance(plain, dict)
        return plain


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
