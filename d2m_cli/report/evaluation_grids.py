"""Which figures of an evaluation stand in which table; `d2m_cli.report.evaluation_table` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Comparison, Evaluation, SystemResult
    from d2m_cli.evaluation.rhythm.scores import Estimate, Scores
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
CHANCE = "chance: "
CEILING = "true music"
GIVEN = "given"


@dataclass(frozen=True)
class Cell:
    """One figure.

    Attributes
    ----------
    value
        None where there is none.
    low, high
        Its interval, or None.
    verdict
        Of a difference, in words.
    given
        Whether it is the true music's and perfect by construction, which shows nothing.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""
    given: bool = False

    def text(self, digits: int = 3, between: str = " ") -> str:
        """As a table prints it: figure, interval of so many digits, verdict."""
        if self.value is None:
            return "-"
        if self.given:
            return f"{self.value:z.3f} ({GIVEN})"
        sign = "+" if self.verdict else ""
        parts = [f"{self.value:{sign}z.3f}"]
        if self.low is not None and self.high is not None:
            parts.append(f"[{self.low:{sign}z.{digits}f}, {self.high:{sign}z.{digits}f}]")
        return between.join([*parts, self.verdict] if self.verdict else parts)


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes
    ----------
    name
        Of a system, of a kind of chance, or of two systems that are compared.
    cells
        One a column.
    chance
        Whether this is a floor and no system.
    ceiling
        Whether this is the true music and no system.
    seeds
        Of a system: how many its figures are means of; None in other lines.
    """

    name: str
    cells: tuple[Cell, ...]
    chance: bool = False
    ceiling: bool = False
    seeds: int | None = None


@dataclass(frozen=True)
class Grid:
    """A table of figures.

    Attributes
    ----------
    title
        Stands above it.
    columns
        Heads; "↑" and "↓" say which way is better.
    rows
        Systems first.
    caption
        What one has to know to read it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str


def grids(evaluation: Evaluation) -> tuple[Grid, ...]:
    """All tables of an evaluation."""
    systems = evaluation.systems
    made = [
        _main(evaluation),
        _protocols(systems),
        _tempo(systems),
        _sound(systems),
        _genre(systems),
        _differences(evaluation.comparisons),
    ]
    return tuple(grid for grid in made if grid is not None)


def _scores(systems: Sequence[SystemResult]) -> Iterator[tuple[str, Scores, bool]]:
    """Systems and under them what chance scores; floors that no system has a part in are the same for all."""
    for system in systems:
        yield system.name, system.rhythm.system, False
    for number, system in enumerate(systems):
        for floor in system.rhythm.floors:
            if not floor.name.startswith("generated"):
                if number == 0:
                    yield CHANCE + floor.name, floor, True
            elif len(systems) == 1:
                yield CHANCE + floor.name, floor, True
            else:
                yield f"{CHANCE}{system.name}'s music of another song", floor, True


def _main(evaluation: Evaluation) -> Grid:
    rows = []
    for name, scores, chance in _scores(evaluation.systems):
        found = {one.protocol: one for one in scores.protocols}
        paper = found["paper"]
        cells = (
            _cell(paper.bcs),
            Cell(paper.csd),
            _cell(paper.bhs),
            Cell(paper.hsd),
            _cell(paper.f1),
            _cell(found["beats70"].f1),
        )
        rows.append(Row(name, cells, chance))
    first = evaluation.systems[0].rhythm
    return Grid(
        f"Rhythm: {evaluation.clips} clips of {evaluation.songs} songs, compared with {evaluation.reference}",
        ("BCS ↑", "CSD ↓", "BHS ↑", "HSD ↓", "F1 ↑", "beats70 F1 ↑"),
        tuple(rows),
        "The columns of the paper's Table 1, 0 to 1: BCS is the share of the generated onsets that meet one of the "
        "reference within 0.2 s, BHS the share of the reference's onsets that are met, F1 their harmonic mean; CSD and "
        "HSD are the standard deviations of BCS and BHS over clips. beats70: F1 of beats instead of onsets, within "
        f"0.07 s; beats are tracked by {first.tracker}. In brackets: 95 % interval over songs; for chance, the middle "
        f"95 % of {first.draws} draws. What lies within chance shows nothing.",
    )


def _protocols(systems: Sequence[SystemResult]) -> Grid:
    rows = []
    names = [one.protocol for one in systems[0].rhythm.system.protocols]
    for name, scores, chance in _scores(systems):
        # CDCD's coverage can pass 1 and makes no F1; what it is known by is the hit rate.
        cells = tuple(_cell(one.f1) if one.protocol != "cdcd" else _cell(one.bhs) for one in scores.protocols)
        rows.append(Row(name, cells, chance))
    heads = tuple(f"{name} BHS ↑" if name == "cdcd" else f"{name} F1 ↑" for name in names)
    return Grid(
        "Rhythm by every way to count",
        heads,
        tuple(rows),
        "The same music counted as different publications do; a figure compares with figures of its own column alone. "
        "paper: onsets within 0.2 s; bins5: onsets in bins of 0.2 s; loris and cdcd: their public code, onsets in bins "
        "of 1 s; beats70, beats200: beats within 0.07 s and 0.2 s.",
    )


def _tempo(systems: Sequence[SystemResult]) -> Grid:
    rows = []
    for name, scores, chance in _scores(systems):
        tempo, steady = scores.tempo, scores.continuity
        cells = (
            _cell(tempo.accuracy1_4 if tempo else None),
            _cell(tempo.accuracy2_4 if tempo else None),
            Cell(tempo.median_octave_error) if tempo else Cell(),
            _cell(steady.cmlt if steady else None),
            _cell(steady.amlt if steady else None),
            _cell(scores.alignment_reference),
        )
        rows.append(Row(name, cells, chance))
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
        tuple(Row(system.name, tuple(Cell(distance.value) for distance in system.distances)) for system in systems),
        "Of all clips together, so without intervals; the name in brackets is the embedding, and figures of different "
        "embeddings have nothing in common. FAD-infinity and KAD can fall below 0 for sets that are alike; "
        "FAD-infinity means nothing where the generated music is cut from the very songs of the reference.",
    )


def _genre(systems: Sequence[SystemResult]) -> Grid | None:
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
    rows = []
    for system in systems:
        cells: list[Cell] = []
        for genre in system.genres:
            for measure in ("genre.kld_label", "genre.kld_reference", "genre.accuracy"):
                cells.append(_cell(genre.estimates.get(measure)))
        if text:
            cells.append(_cell(system.text.score if system.text is not None else None))
        rows.append(Row(system.name, tuple(cells)))
    notes = []
    if systems[0].genres:
        notes.append(
            "KLD: divergence of the genre that a classifier predicts from the one that is named for the clip, and from "
            "what it predicts for the true music; one that knows nothing of ten genres has 2.303 to the label, and is "
            "right for 0.1 of clips."
        )
    if text:
        notes.append("CLAP score: cosine of sound and prompt.")
    return Grid(
        "Genre and text", tuple(heads), tuple(rows), " ".join([*notes, "In brackets: 95 % interval over songs."])
    )


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
        "In brackets: 95 % interval over songs of the difference; where it holds 0, no difference is shown. Of many "
        "differences, one in twenty looks like one by chance.",
    )


def _verdict(comparison: Comparison, found: Difference, arrow: str) -> str:
    """Which of the two is better; "higher" would mislead where lower is."""
    sides = {"first is higher": comparison.first, "second is higher": comparison.second}
    if found.verdict not in sides:
        return found.verdict
    higher = sides[found.verdict]
    lower = comparison.second if higher == comparison.first else comparison.first
    return f"{higher if '↑' in arrow else lower} is better"


def _cell(estimate: Estimate | None) -> Cell:
    return Cell() if estimate is None else Cell(estimate.value, estimate.low, estimate.high)
