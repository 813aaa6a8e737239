"""An evaluation in words: what follows for each system, beside what chance and the true music score."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from d2m_cli.evaluation.genre.judge import CHANCE as GENRE_CHANCE
from d2m_cli.ground.printable import printable
from d2m_cli.ground.words import count
from d2m_cli.report.grid import CEILING, GIVEN, system_line

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Comparison, Evaluation, GenreResult, SystemResult
    from d2m_cli.evaluation.rhythm.scores import Estimate, Scores

PROTOCOL = "beats70"
"""What a verdict on rhythm is by: tracked beats within 0.07 s, where chance scores least."""
VERDICT_DISTANCES = ("FAD", "KAD")
"""Of the distances of sound those that are named."""
NARROWEST = 40
"""Columns of a terminal under which lines are longer than it."""


def verdict_lines(evaluation: Evaluation, width: int = 80) -> list[str]:
    """What was found, in words.

    Parameters
    ----------
    evaluation
        All that was found.
    width
        Columns to which lines are folded.

    Returns
    -------
    Lines: what was compared, a block for each system, one for the differences from the first, and what the words mean.
    """
    compared = f"{count(evaluation.clips, 'clip')} of {count(evaluation.songs, 'song')}"
    blocks = [[f"{compared}, compared with {evaluation.reference}"]]
    blocks += [[system_line(system).name, *_findings(evaluation, system)] for system in evaluation.systems]
    first = evaluation.systems[0].name
    blocks += [
        [f"{one.first} against {one.second}", *lines]
        for one in evaluation.comparisons
        if one.first == first and (lines := list(_differences(one)))
    ]
    legend = _LEGEND
    if evaluation.ceiling is not None and not evaluation.ceiling.shows(PROTOCOL):
        legend += f" ({GIVEN}): the reference was found in the true music itself."
    blocks.append([legend])
    return list(folded(blocks, width))


_KEPT = "\u00a0"
"""Space at which no line is folded."""
_LEGEND = (
    "F1: of tracked beats within 0.07 s, 0 to 1. Shown: the 95 % interval, in brackets, lies above the best that "
    "chance scores."
)


def folded(blocks: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Blocks with an empty line between them: a head each, and findings under it that are set in where they go on."""
    for number, (head, *findings) in enumerate(blocks):
        if number:
            yield ""
        yield from fold(head, width)
        for finding in findings:
            yield from fold(finding, width, "  ")


def fold(text: str, width: int, margin: str = "") -> list[str]:
    """One sentence in lines of a width, all but the first set in by four spaces more than the margin."""
    lines = textwrap.wrap(
        printable(text),
        max(width, NARROWEST),
        initial_indent=margin,
        subsequent_indent=f"{margin}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_KEPT, " ") for line in lines]


def _together(parts: Iterable[str]) -> str:
    """Parts with commas between them, each of which stays on one line."""
    return ", ".join(part.replace(" ", _KEPT) for part in parts)


def _findings(evaluation: Evaluation, system: SystemResult) -> Iterator[str]:
    yield f"follows the dance: {_rhythm(evaluation, system)}"
    by_embedding: dict[str, list[str]] = {}
    for distance in system.distances:
        if distance.value is not None and distance.kind in VERDICT_DISTANCES:
            by_embedding.setdefault(distance.embedding, []).append(f"{distance.kind} {distance.value:z.1f}")
    for embedding, values in by_embedding.items():
        yield f"distance to the true music ({embedding}): {_together(values)}"
    for genre in system.genres:
        yield from _genre(evaluation, genre, _seed(system))
    if system.text is not None:
        yield f"follows the prompts: {_together([f'CLAP score {_figure(system.text.score)}'])}"


def _rhythm(evaluation: Evaluation, system: SystemResult) -> str:
    own = _f1(system.rhythm.system)
    if own is None:
        return "no verdict: no beats to compare"
    floors = [one.value for scores in system.rhythm.floors if (one := _f1(scores)) is not None]
    told = [f"F1 {_figure(own)}", f"chance {max(floors):.2f}"]
    ceiling = evaluation.ceiling
    true = _f1(ceiling.rhythm) if ceiling is not None else None
    measured = ceiling is not None and ceiling.shows(PROTOCOL)
    if true is not None:
        told.append(f"{CEILING} {true.value:.2f}{'' if measured else f' ({GIVEN})'}")
    verdict = _shown(own, max(floors), min(floors), _seed(system))
    if measured and true is not None and (true.value if true.low is None else true.low) <= max(floors):
        verdict = "no verdict (not even the true music is shown to)"
    return f"{verdict}, {_together(told)}"


def _f1(scores: Scores) -> Estimate | None:
    return next(one.f1 for one in scores.protocols if one.protocol == PROTOCOL)


def _shown(own: Estimate, best: float, least: float, seed: str) -> str:
    """Whether a figure is above chance, of which some kinds score better than others."""
    if own.low is None or own.high is None:
        return "can't be told from one song"
    if own.low > best:
        return f"shown{seed}"
    return f"worse than chance{seed}" if own.high < least else f"not shown{seed}"


def _seed(system: SystemResult) -> str:
    return " (one seed)" if len(system.seeds) == 1 else ""


def _genre(evaluation: Evaluation, genre: GenreResult, seed: str) -> Iterator[str]:
    name, right = genre.scores.classifier, genre.estimates.get("genre.accuracy")
    if genre.no_verdict:
        yield f"genre: no verdict, {genre.no_verdict}"
    elif right is not None:
        told = [f"right {_figure(right)} of clips", f"chance {GENRE_CHANCE:.2f}"]
        for true in evaluation.ceiling.genres if evaluation.ceiling is not None else ():
            if true.scores.classifier == name and (best := true.estimates.get("genre.accuracy")) is not None:
                told.append(f"{CEILING} {best.value:.2f}")
        yield f"genre ({name}): {_shown(right, GENRE_CHANCE, GENRE_CHANCE, seed)}, {_together(told)}"
    elif (apart := genre.estimates.get("genre.kld_reference")) is not None:
        yield f"genre ({name}): {_together([f'KLD to the true music {_figure(apart)}'])}"


_COMPARED = {f"{PROTOCOL}.f1": ("follows the dance", "F1"), "genre.accuracy": ("genre", "right")}


def _differences(comparison: Comparison) -> Iterator[str]:
    better = {"first is higher": comparison.first, "second is higher": comparison.second}
    seed = " (one seed)" if comparison.one_seed else ""
    for found in comparison.differences:
        measure, _, who = found.measure.partition(" ")
        # What no verdict follows from is said of each system.
        if measure in _COMPARED and not found.verdict.startswith("no verdict"):
            what, figure = _COMPARED[measure]
            winner = better.get(found.verdict)
            verdict = f"{winner} is better{seed}" if winner is not None else found.verdict
            interval = "" if found.low is None or found.high is None else f" [{found.low:+z.2f}, {found.high:+z.2f}]"
            gain = f"{figure} {found.difference:+z.2f}{interval}"
            yield f"{what}{f' {who}' if who else ''}: {verdict}, {_together([gain])}"


def _figure(estimate: Estimate) -> str:
    interval = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:z.2f}, {estimate.high:z.2f}]"
    return f"{estimate.value:z.2f}{interval}"
