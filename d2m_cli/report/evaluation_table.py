"""Tables of an evaluation: for the terminal, for spreadsheets and for papers, all from the same rows."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from d2m_cli.evaluation.rhythm.scores import Estimate, Scores
    from d2m_cli.evaluation.rhythm.summary import Difference
    from d2m_cli.evaluation.systems import Comparison, Evaluation, SystemResult

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
NARROWEST = 60
"""Columns of a terminal under which a table is wider than it."""
LONGEST_LINE = 120
"""Characters of a line of caption."""
HEAD = 12
"""Characters from which the head of a column is folded."""


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
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""

    def text(self, digits: int = 3, between: str = " ") -> str:
        """As a table prints it: figure, interval of so many digits, verdict."""
        if self.value is None:
            return "-"
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
    """

    name: str
    cells: tuple[Cell, ...]
    chance: bool = False


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
        f"0.07 s; beats are heard by {first.tracker}. In brackets: 95 % interval over songs; for chance, the middle "
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
        "Of all clips together, so without intervals; the name in brackets is what listened, and figures of different "
        "listeners have nothing in common. FAD-infinity and KAD can fall below 0 for sets that are alike; FAD-infinity "
        "means nothing where the generated music is cut from the very songs of the reference.",
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
            "KLD: divergence of the genre that a classifier hears from the one that is named for the clip, and from "
            "what it hears in the true music; one that knows nothing of ten genres has 2.303 to the label, and is "
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


def rich_tables(evaluation: Evaluation, width: int = 200) -> list[Group]:
    """For a terminal of a width in columns: one line a cell where that fits, else two; wide tables in parts."""
    tables: list[Group] = []
    for grid in grids(evaluation):
        wide = _columns(grid, 3, " ")
        if _needed(wide) <= width:
            tables.append(_table(grid, wide, width))
            continue
        narrow = _columns(grid, 2, "\n")
        parts = list(_parts(narrow, max(width, NARROWEST)))
        for number, chosen in enumerate(parts):
            last = number == len(parts) - 1
            title = grid.title if not number else f"{grid.title} (continued)"
            part = replace(grid, title=title, caption=grid.caption if last else "")
            tables.append(_table(part, [narrow[0], *chosen], width))
    return tables


def _columns(grid: Grid, digits: int, between: str) -> list[list[str]]:
    """Texts of each column, head first; column 0 are the names."""
    return [
        ["", *(row.name for row in grid.rows)],
        *(
            [
                _folded(head),
                *(row.cells[at].text(digits, between) for row in grid.rows),
            ]
            for at, head in enumerate(grid.columns)
        ),
    ]


def _folded(head: str) -> str:
    # The arrow stays with the word before it.
    kept = "\u00a0".join(head.rsplit(" ", 1)) if head.endswith(("↑", "↓")) else head
    return textwrap.fill(kept, HEAD, break_long_words=False).replace("\u00a0", " ")


def _width(column: Sequence[str]) -> int:
    return max(len(line) for text in column for line in text.split("\n")) + 3


def _needed(columns: Sequence[Sequence[str]]) -> int:
    return 1 + sum(map(_width, columns))


def _parts(columns: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    """Columns beside the names that fit together; names may be folded to a fifth of the width."""
    room = width - 1 - min(_width(columns[0]), max(width // 5, 20))
    part: list[list[str]] = []
    for column in columns[1:]:
        if part and sum(map(_width, [*part, column])) > room:
            yield part
            part = []
        part.append(column)
    yield part


def _table(grid: Grid, columns: Sequence[Sequence[str]], width: int) -> Group:
    # Names may hold brackets, which rich would take for its markup.
    table = Table(width=min(_needed(columns), max(width, NARROWEST)))
    for number, column in enumerate(columns):
        table.add_column(Text(column[0]), justify="right" if number else "left", no_wrap=number > 0)
    for at, row in enumerate(grid.rows, start=1):
        last = not row.chance and at < len(grid.rows) and grid.rows[at].chance
        table.add_row(*(Text(column[at]) for column in columns), style="dim" if row.chance else None, end_section=last)
    caption = textwrap.fill(grid.caption, min(width, LONGEST_LINE))
    return Group(Text(grid.title, "bold"), table, *([Text(caption, "dim")] if caption else []))


def to_csv(evaluation: Evaluation) -> str:
    """One line a row and figure of the tables: name, table, figure, value, low, high, verdict."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("system", "table", "figure", "value", "low", "high", "verdict"))
    for grid in grids(evaluation):
        for row in grid.rows:
            for head, cell in zip(grid.columns, row.cells, strict=True):
                if cell.value is not None:
                    figure = head.removesuffix(" ↑").removesuffix(" ↓")
                    writer.writerow((row.name, grid.title, figure, cell.value, cell.low, cell.high, cell.verdict))
    return text.getvalue()


def to_latex(evaluation: Evaluation) -> str:
    """The tables as ``tabular`` environments with booktabs' rules."""
    return "\n".join(_latex(grid) for grid in grids(evaluation))


def _latex(grid: Grid) -> str:
    heads = " & ".join(map(_escape, grid.columns))
    lines = [
        *(f"% {part}" for part in (grid.title, grid.caption)),
        rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}",
        r"\toprule",
        rf" & {heads} \\",
        r"\midrule",
    ]
    ruled = False
    for row in grid.rows:
        if row.chance and not ruled:
            lines.append(r"\midrule")
            ruled = True
        lines.append(" & ".join(map(_escape, [row.name, *(cell.text() for cell in row.cells)])) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    # At the start of a line it would be an option of the line break before it.
    "[": "{[}",
} | {sign: "\\" + sign for sign in "&%_#${}"}


def _escape(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def remark_lines(evaluation: Evaluation) -> list[str]:
    """What qualifies the tables: clips that are left out, and what the figures rest on."""
    lines = [f"left out: {one.clip}: {', '.join(one.lacks)}" for one in evaluation.missing]
    if evaluation.missing:
        lines.insert(0, f"{evaluation.clips} clips judged, {len(evaluation.missing)} left out")
    notes: list[tuple[str, str]] = []
    for system in evaluation.systems:
        notes += [(system.name, f"{found.column}: {note}") for found in system.distances for note in found.notes]
        for genre in system.genres:
            name = genre.scores.classifier
            notes += [(system.name, f"{name}: {note}") for note in genre.scores.notes]
            notes += [(system.name, f"{name} left out {clip}: {why}") for clip, why in genre.scores.left_out]
    for note in dict.fromkeys(note for _, note in notes):
        whose = list(dict.fromkeys(name for name, other in notes if other == note))
        everyone = len(whose) == len(evaluation.systems)
        lines.append(note if everyone else f"{', '.join(whose)}: {note}")
    return [*dict.fromkeys([*evaluation.remarks, *lines])]
