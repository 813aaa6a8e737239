"""Which systems a genre classifier may judge.

One that learned from the very music that a system's backbone learned from is right of it whatever it is worth: the
listener is right of nearly all that the embedded backbone makes, and of next to nothing that was recorded. Neither does
a verdict follow where it does not know the genres of the true music.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.evaluation.pieces import read_record
from d2m_cli.ground.words import count, listed

if TYPE_CHECKING:
    from d2m_cli.evaluation.genre.divergence import Classifier
    from d2m_cli.evaluation.results import Comparison, Evaluation, GenreResult, SystemResult

CHANCE = 0.1
"""Share of clips whose genre a classifier is right of that knows nothing of ten."""


def backbone_of(music: Path) -> str | None:
    """Name of the backbone that made a sound file or video, from the record (.json) that lies beside it.

    Returns
    -------
    None where no record of d2m lies there.
    """
    record = read_record(music)
    if record is None:
        return None
    try:
        return str(record["models"]["backbone"]["name"])
    except (KeyError, TypeError):
        return None


def judge_genres(
    found: Evaluation, classifiers: Sequence[Classifier], files: Mapping[str, Sequence[Path]]
) -> Evaluation:
    """Withhold the verdicts on genre that do not follow, and say where that can't be known.

    Parameters
    ----------
    found
        The evaluation.
    classifiers
        Those that its genres are by.
    files
        Music of each system, of all its seeds.

    Returns
    -------
    The same with `GenreResult.no_verdict` and `GenreResult.doubt`, and with differences of genre that say so.
    """
    by_name = {classifier.name: classifier for classifier in classifiers}
    true = {genre.scores.classifier: genre for genre in found.ceiling.genres} if found.ceiling is not None else {}

    def judged(system: SystemResult) -> SystemResult:
        made_by = [backbone_of(path) for path in files[system.name]]
        genres = (
            _judged(genre, by_name[genre.scores.classifier].same_music, made_by, true.get(genre.scores.classifier))
            for genre in system.genres
        )
        return replace(system, genres=tuple(genres))

    systems = tuple(map(judged, found.systems))
    withheld = {
        (system.name, genre.scores.classifier) for system in systems for genre in system.genres if genre.no_verdict
    }
    comparisons = tuple(_compared(comparison, withheld) for comparison in found.comparisons)
    return replace(found, systems=systems, comparisons=comparisons)


def _judged(
    genre: GenreResult, same_music: Sequence[str], made_by: Sequence[str | None], true: GenreResult | None
) -> GenreResult:
    name = genre.scores.classifier
    own = [backbone for backbone in made_by if backbone is not None and backbone in same_music]
    reason, doubt = "", ""
    if own:
        whose = "all of it" if len(own) == len(made_by) else f"{len(own)} of {count(len(made_by), 'clip')}"
        reason = f"{name} learned from the same music as the {listed(sorted(set(own)))} backbone, which made {whose}"
    elif true is not None and (right := true.estimates.get("genre.accuracy")) is not None:
        least = right.value if right.low is None else right.low
        if least <= CHANCE:
            reason = f"{name} does not know the true music: right for {right.value:.2f} of it, chance {CHANCE:.2f}"
    unknown = made_by.count(None)
    if same_music and unknown and not own:
        what = "its music" if unknown == len(made_by) else f"{unknown} of {count(len(made_by), 'clip')}"
        doubt = (
            f"what made {what} is not known (no .json of d2m beside it): if it was the {listed(same_music)} backbone, "
            "which learned from the same music, no verdict on genre follows"
        )
    return replace(genre, no_verdict=reason, doubt=doubt)


def _compared(comparison: Comparison, withheld: set[tuple[str, str]]) -> Comparison:
    def told(measure: str, verdict: str) -> str:
        family, _, rest = measure.partition(".")
        classifier = rest.partition(" (")[2].removesuffix(")")
        both = {(side, classifier) for side in (comparison.first, comparison.second)}
        return f"no verdict: {classifier} can't judge" if family == "genre" and both & withheld else verdict

    differences = (replace(one, verdict=told(one.measure, one.verdict)) for one in comparison.differences)
    return replace(comparison, differences=tuple(differences))
