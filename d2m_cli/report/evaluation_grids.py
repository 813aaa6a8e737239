"""Which figures of an evaluation stand in which table; `d2m_cli.report.evaluation_table` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from d2m_cli.ground.words import count
from d2m_cli.report.grid import (
    CEILING,
    Cell,
    Grid,
    Row,
    about_ceiling,
    about_verdicts,
    cell_of,
    distance_cell,
    group_heads,
    is_given,
    score_lines,
    system_line,
)

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Ceiling, Comparison, Evaluation, SystemResult
    from d2m_cli.evaluation.rhythm.summary import Difference

MEASURES = {
    "paper.f1": "paper F1 ↑",
    "bins5.f1": "bins5 F1 ↑",
    "beats70.f1": "beats70 F1 ↑",
    "beats200.f1": "beats200 F1 ↑",
    "tempo.accuracy1_4": "tempo within 4 % ↑",
    "tempo.accuracy2_4": "tempo or its octave ↑",
    "continuity.amlt": "AMLt ↑",
    "alignment.reference": "beat alignment ↑",
    "genre.kld_label": "KLD to label ↓",
    "genre.kld_reference": "KLD to reference ↓",
    "genre.accuracy": "genre right ↑",
    "clap": "CLAP score ↑",
}
"""Measures whose differences between systems are printed, and how; all stand in the JSON."""


def grids(evaluation: Evaluation) -> tuple[Grid, ...]:
    """All tables of an evaluation."""
    systems = evaluation.systems
    made = [
        _main(evaluation),
        _protocols(evaluation),
        _tempo(evaluation),
        _sound(systems),
        _genre(evaluation),
        _differences(evaluation.comparisons),
    ]
    return tuple(grid for grid in made if grid is not None)


def _main(evaluation: Evaluation) -> Grid:
    rows = []
    for line, scores in score_lines(evaluation):
        found = {one.protocol: one for one in scores.protocols}
        paper = found["paper"]
        given, given_beats = (is_given(evaluation, line, group) for group in ("paper", "beats70"))
        cells = (
            cell_of(paper.bcs, given),
            Cell(paper.csd, given=given),
            cell_of(paper.bhs, given),
            Cell(paper.hsd, given=given),
            cell_of(paper.f1, given),
            cell_of(found["beats70"].f1, given_beats),
        )
        rows.append(replace(line, cells=cells))
    first = evaluation.systems[0].rhythm
    paper_heads = (("paper", head) for head in ("BCS ↑", "CSD ↓", "BHS ↑", "HSD ↓", "F1 ↑"))
    return Grid(
        f"Rhythm: {count(evaluation.clips, 'clip')} of {count(evaluation.songs, 'song')}, compared with "
        f"{evaluation.reference}",
        group_heads(evaluation, *paper_heads, ("beats70", "beats70 F1 ↑")),
        tuple(rows),
        "0 to 1; BCS, BHS and F1 as in the paper's Table 1: BCS is the share of the generated onsets that meet one of "
        "the reference within 0.2 s, BHS the share of the reference's onsets that are met, F1 their harmonic mean; CSD "
        "and HSD are the standard deviations of BCS and BHS over clips. beats70: F1 of beats instead of onsets, within "
        f"0.07 s; beats are tracked by {first.tracker}. In brackets: 95 % interval over songs, and over seeds where "
        f"there are several; for chance, the middle 95 % of {first.draws} draws. What lies within chance shows nothing."
        f"{about_ceiling(evaluation)}{about_verdicts(evaluation)}",
    )


def _protocols(evaluation: Evaluation) -> Grid:
    rows = []
    names = [one.protocol for one in evaluation.systems[0].rhythm.system.protocols]
    for line, scores in score_lines(evaluation):
        # CDCD's coverage can pass 1 and makes no F1; what it is known by is the hit rate.
        cells = tuple(
            cell_of(one.f1 if one.protocol != "cdcd" else one.bhs, is_given(evaluation, line, one.protocol))
            for one in scores.protocols
        )
        rows.append(replace(line, cells=cells))
    heads = ((name, f"{name} BHS ↑" if name == "cdcd" else f"{name} F1 ↑") for name in names)
    return Grid(
        "Rhythm by every way to count",
        group_heads(evaluation, *heads),
        tuple(rows),
        "The same music counted as different publications do; a figure compares with figures of its own column alone. "
        "paper: onsets within 0.2 s; bins5: onsets in bins of 0.2 s; loris and cdcd: their public code, onsets in bins "
        f"of 1 s; beats70, beats200: beats within 0.07 s and 0.2 s.{about_verdicts(evaluation)}",
    )


def _tempo(evaluation: Evaluation) -> Grid:
    rows = []
    for line, scores in score_lines(evaluation):
        tempo, steady = scores.tempo, scores.continuity
        # All of them compare beats.
        given = is_given(evaluation, line, "tempo")
        cells = (
            cell_of(tempo.accuracy1_4 if tempo else None, given),
            cell_of(tempo.accuracy2_4 if tempo else None, given),
            Cell(tempo.median_octave_error, given=given) if tempo else Cell(),
            cell_of(steady.cmlt if steady else None, given),
            cell_of(steady.amlt if steady else None, given),
            cell_of(scores.alignment_reference, given),
        )
        rows.append(replace(line, cells=cells))
    heads = (
        "tempo within 4 % ↑",
        "tempo or its octave ↑",
        "median error ↓",
        "CMLt ↑",
        "AMLt ↑",
        "beat alignment ↑",
    )
    return Grid(
        "Tempo, continuity and beat alignment",
        heads,
        tuple(rows),
        "Share of clips whose tempo is right within 4 %, and right but for a factor of 2 or 3; median error: of the "
        "tempo but for octaves, 0.1 is 10 %. CMLt and AMLt: share of beats that are right one after the other, at the "
        "reference's level and at any; only over clips of 10 s or more. Beat alignment: 1 where every beat of the "
        "reference has one in the music, falling off over 0.05 s.",
    )


def _sound(systems: Sequence[SystemResult]) -> Grid | None:
    heads = tuple(f"{distance.column} ↓" for distance in systems[0].distances)
    if not heads:
        return None
    return Grid(
        "Distance of the sound to the true music",
        heads,
        tuple(
            replace(system_line(system), cells=tuple(distance_cell(distance) for distance in system.distances))
            for system in systems
        ),
        "Of all clips together, so without intervals over songs; in brackets, where there are several seeds: the least "
        "and the greatest of them. The name in the heads is the embedding, and figures of different embeddings have "
        "nothing in common. FAD-infinity and KAD can fall below 0 for sets that are alike; FAD-infinity means nothing "
        "where the generated music is cut from the very songs of the reference.",
    )


def _genre(evaluation: Evaluation) -> Grid | None:
    systems, ceiling = evaluation.systems, evaluation.ceiling
    heads: list[str] = []
    for genre in systems[0].genres:
        heads += [
            f"KLD to label ({genre.scores.classifier}) ↓",
            f"KLD to reference ({genre.scores.classifier}) ↓",
            f"genre right ({genre.scores.classifier}) ↑",
        ]
    text = any(system.text is not None for system in systems)
    if text:
        heads.append("CLAP score ↑")
    if not heads:
        return None
    lines: list[tuple[Row, SystemResult | Ceiling]] = [(system_line(system), system) for system in systems]
    if ceiling is not None and (ceiling.genres or ceiling.text):
        lines.append((Row(CEILING, (), ceiling=True), ceiling))
    rows = []
    for line, found in lines:
        cells: list[Cell] = []
        for genre in found.genres:
            for measure in ("genre.kld_label", "genre.kld_reference", "genre.accuracy"):
                cells.append(cell_of(genre.estimates.get(measure), unjudged=bool(genre.no_verdict)))
        if text:
            cells.append(cell_of(found.text.score if found.text is not None else None))
        rows.append(replace(line, cells=tuple(cells)))
    notes = []
    if systems[0].genres:
        notes.append(
            "KLD: divergence of the genre that a classifier predicts from the one that is named for the clip, and from "
            "what it predicts for the true music; one that knows nothing of ten genres has 2.303 to the label, and is "
            "right for 0.1 of clips."
        )
    for system in systems:
        notes += [f"No verdict on {system.name}: {genre.no_verdict}." for genre in system.genres if genre.no_verdict]
    if text:
        notes.append("CLAP score: cosine of sound and prompt.")
    notes.append("In brackets: 95 % interval over songs, and over seeds where there are several.")
    return Grid("Genre and text", tuple(heads), tuple(rows), " ".join(notes))


def _differences(comparisons: Sequence[Comparison]) -> Grid | None:
    heads = [f"{one.first} less {one.second}" for one in comparisons]
    cells: dict[str, list[Cell]] = {}
    for number, comparison in enumerate(comparisons):
        for found in comparison.differences:
            measure, space, listener = found.measure.partition(" ")
            if measure in MEASURES:
                title, arrow = MEASURES[measure][:-2], MEASURES[measure][-2:]
                line = cells.setdefault(f"{title}{space}{listener}{arrow}", [Cell()] * len(comparisons))
                line[number] = Cell(found.difference, found.low, found.high, _verdict(comparison, found, arrow))
    if not cells:
        return None
    return Grid(
        "Differences between systems on the same clips",
        tuple(heads),
        tuple(Row(name, tuple(line)) for name, line in cells.items()),
        "In brackets: 95 % interval over songs (and seeds, where there are several) of the difference; where it "
        "holds 0, no difference is shown. A verdict from one seed of a system leaves out what another seed would "
        "change. Of many differences, one in twenty looks like one by chance.",
    )


def _verdict(comparison: Comparison, found: Difference, arrow: str) -> str:
    """Which of the two is better, and whether one seed says so; "higher" would mislead where lower is."""
    sides = {"first is higher": comparison.first, "second is higher": comparison.second}
    if found.verdict not in sides:
        return found.verdict
    higher = sides[found.verdict]
    lower = comparison.second if higher == comparison.first else comparison.first
    return f"{higher if '↑' in arrow else lower} is better{' (one seed)' if comparison.one_seed else ''}"
