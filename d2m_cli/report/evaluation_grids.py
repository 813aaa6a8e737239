"""Which figures of an evaluation stand in which table; `d2m_cli.report.evaluation_table` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Ceiling, Comparison, Evaluation, SystemResult
    from d2m_cli.evaluation.rhythm.scores import Estimate, Scores
    from d2m_cli.evaluation.rhythm.summary import Difference
    from d2m_cli.evaluation.sound.frechet import Distance

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

    @property
    def is_system(self) -> bool:
        """Whether this is neither floor nor ceiling."""
        return not (self.chance or self.ceiling)


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
        _protocols(evaluation),
        _tempo(evaluation),
        _sound(systems),
        _genre(evaluation),
        _differences(evaluation.comparisons),
    ]
    return tuple(grid for grid in made if grid is not None)


def _scores(evaluation: Evaluation) -> Iterator[tuple[Row, Scores]]:
    """Lines yet without cells: systems, the true music, chance; floors that no system has a part in once for all."""
    systems = evaluation.systems
    for system in systems:
        yield _line(system), system.rhythm.system
    if evaluation.ceiling is not None:
        yield Row(CEILING, (), ceiling=True), evaluation.ceiling.rhythm
    for number, system in enumerate(systems):
        for floor in system.rhythm.floors:
            name = floor.name
            if name.startswith("generated"):
                name = name if len(systems) == 1 else f"{system.name}'s music of another song"
            elif number > 0:
                continue
            yield Row(CHANCE + name, (), chance=True), floor


def _line(system: SystemResult) -> Row:
    """Line of a system, yet without cells."""
    seeds = len(system.seeds)
    return Row(system.name if seeds == 1 else f"{system.name}, {seeds} seeds", (), seeds=seeds)


def _heads(evaluation: Evaluation, *groups: tuple[str, str]) -> tuple[str, ...]:
    """Heads of columns, each with its group of measures; those that no verdict follows from say so."""
    unjudged = [f"{head[:-2]} (no verdict){head[-2:]}" for _, head in groups]
    return tuple(
        marked if group in evaluation.no_verdict else head
        for (group, head), marked in zip(groups, unjudged, strict=True)
    )


def _main(evaluation: Evaluation) -> Grid:
    rows = []
    for line, scores in _scores(evaluation):
        found = {one.protocol: one for one in scores.protocols}
        paper = found["paper"]
        given, given_beats = (_given(evaluation, line, group) for group in ("paper", "beats70"))
        cells = (
            _cell(paper.bcs, given),
            Cell(paper.csd, given=given),
            _cell(paper.bhs, given),
            Cell(paper.hsd, given=given),
            _cell(paper.f1, given),
            _cell(found["beats70"].f1, given_beats),
        )
        rows.append(replace(line, cells=cells))
    first = evaluation.systems[0].rhythm
    paper_heads = (("paper", head) for head in ("BCS ↑", "CSD ↓", "BHS ↑", "HSD ↓", "F1 ↑"))
    return Grid(
        f"Rhythm: {evaluation.clips} clips of {evaluation.songs} songs, compared with {evaluation.reference}",
        _heads(evaluation, *paper_heads, ("beats70", "beats70 F1 ↑")),
        tuple(rows),
        "The columns of the paper's Table 1, 0 to 1: BCS is the share of the generated onsets that meet one of the "
        "reference within 0.2 s, BHS the share of the reference's onsets that are met, F1 their harmonic mean; CSD and "
        "HSD are the standard deviations of BCS and BHS over clips. beats70: F1 of beats instead of onsets, within "
        f"0.07 s; beats are tracked by {first.tracker}. In brackets: 95 % interval over songs, and over seeds where "
        f"there are several; for chance, the middle 95 % of {first.draws} draws. What lies within chance shows nothing."
        f"{_about_ceiling(evaluation)}{_about_verdicts(evaluation)}",
    )


def _about_ceiling(evaluation: Evaluation) -> str:
    if evaluation.ceiling is None:
        return ""
    text = f" {CEILING}: what it scores itself, the ceiling."
    if evaluation.ceiling.by_construction:
        text += f" ({GIVEN}): the reference was found in it, so that this is no measurement."
    return text


def _about_verdicts(evaluation: Evaluation) -> str:
    if not evaluation.no_verdict:
        return ""
    return (
        " (no verdict): onsets of the music are counted against beats, by which true music can score less than music "
        "that fits worse."
    )


def _given(evaluation: Evaluation, line: Row, group: str) -> bool:
    return line.ceiling and evaluation.ceiling is not None and not evaluation.ceiling.shows(group)


def _protocols(evaluation: Evaluation) -> Grid:
    rows = []
    names = [one.protocol for one in evaluation.systems[0].rhythm.system.protocols]
    for line, scores in _scores(evaluation):
        # CDCD's coverage can pass 1 and makes no F1; what it is known by is the hit rate.
        cells = tuple(
            _cell(one.f1 if one.protocol != "cdcd" else one.bhs, _given(evaluation, line, one.protocol))
            for one in scores.protocols
        )
        rows.append(replace(line, cells=cells))
    heads = ((name, f"{name} BHS ↑" if name == "cdcd" else f"{name} F1 ↑") for name in names)
    return Grid(
        "Rhythm by every way to count",
        _heads(evaluation, *heads),
        tuple(rows),
        "The same music counted as different publications do; a figure compares with figures of its own column alone. "
        "paper: onsets within 0.2 s; bins5: onsets in bins of 0.2 s; loris and cdcd: their public code, onsets in bins "
        f"of 1 s; beats70, beats200: beats within 0.07 s and 0.2 s.{_about_verdicts(evaluation)}",
    )


def _tempo(evaluation: Evaluation) -> Grid:
    rows = []
    for line, scores in _scores(evaluation):
        tempo, steady = scores.tempo, scores.continuity
        # All of them compare beats.
        given = _given(evaluation, line, "tempo")
        cells = (
            _cell(tempo.accuracy1_4 if tempo else None, given),
            _cell(tempo.accuracy2_4 if tempo else None, given),
            Cell(tempo.median_octave_error, given=given) if tempo else Cell(),
            _cell(steady.cmlt if steady else None, given),
            _cell(steady.amlt if steady else None, given),
            _cell(scores.alignment_reference, given),
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
            replace(_line(system), cells=tuple(_distance(distance) for distance in system.distances))
            for system in systems
        ),
        "Of all clips together, so without intervals over songs; in brackets, where there are several seeds: the least "
        "and the greatest of them. The name in the heads is the embedding, and figures of different embeddings have "
        "nothing in common. FAD-infinity and KAD can fall below 0 for sets that are alike; FAD-infinity means nothing "
        "where the generated music is cut from the very songs of the reference.",
    )


def _distance(found: Distance) -> Cell:
    """A distance, and between which it lies from one seed to the other."""
    known = [value for value in found.by_seed if value is not None]
    return Cell(found.value, min(known), max(known)) if len(known) > 1 else Cell(found.value)


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
    lines: list[tuple[Row, SystemResult | Ceiling]] = [(_line(system), system) for system in systems]
    if ceiling is not None and (ceiling.genres or ceiling.text):
        lines.append((Row(CEILING, (), ceiling=True), ceiling))
    rows = []
    for line, found in lines:
        cells: list[Cell] = []
        for genre in found.genres:
            for measure in ("genre.kld_label", "genre.kld_reference", "genre.accuracy"):
                cells.append(_cell(genre.estimates.get(measure)))
        if text:
            cells.append(_cell(found.text.score if found.text is not None else None))
        rows.append(replace(line, cells=tuple(cells)))
    notes = []
    if systems[0].genres:
        notes.append(
            "KLD: divergence of the genre that a classifier predicts from the one that is named for the clip, and from "
            "what it predicts for the true music; one that knows nothing of ten genres has 2.303 to the label, and is "
            "right for 0.1 of clips."
        )
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


def _cell(estimate: Estimate | None, given: bool = False) -> Cell:
    return Cell() if estimate is None else Cell(estimate.value, estimate.low, estimate.high, given=given)
