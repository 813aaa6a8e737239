"""One table as the paper prints it: the columns of its Table 1, with floor, ceiling, intervals and number of seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from d2m_cli.ground.printable import printable
from d2m_cli.ground.words import count
from d2m_cli.report.evaluation_table import latex_table
from d2m_cli.report.grid import (
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
)

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Evaluation

SEEDS = "Seeds"


def paper_table(evaluation: Evaluation, style: str = "markdown") -> str:
    """The table in one of `STYLES`, with an end of line."""
    return STYLES[style](paper_grid(evaluation))


def paper_grid(evaluation: Evaluation) -> Grid:
    """Columns of Table 1 of Li et al. (2024), but for the opinions of people.

    Rhythm is counted by the protocol "paper". FAD and genre KLD have a column for each embedding and classifier; the
    KLD is to the label where labels are known, as in the paper, and else to what is predicted for the true music.
    """
    first = evaluation.systems[0]
    distances = [number for number, one in enumerate(first.distances) if one.kind == "FAD"]
    labelled = any("genre.kld_label" in genre.estimates for system in evaluation.systems for genre in system.genres)
    measure, to = ("genre.kld_label", "label") if labelled else ("genre.kld_reference", "the true music")
    # Without labels and without true music there is nothing to compare with.
    compared = {
        one.scores.classifier for system in evaluation.systems for one in system.genres if measure in one.estimates
    }
    classifiers = [one.scores.classifier for one in first.genres if one.scores.classifier in compared]
    rows = []
    # Systems come first.
    for (line, scores), system in zip_longest(score_lines(evaluation), evaluation.systems):
        found = next(one for one in scores.protocols if one.protocol == "paper")
        given = is_given(evaluation, line, "paper")
        cells = [cell_of(one, given) for one in (found.bcs, found.bhs, found.f1)]
        cells += [distance_cell(system.distances[number]) if system is not None else Cell() for number in distances]
        judged = system if system is not None else evaluation.ceiling if line.ceiling else None
        genres = {one.scores.classifier: one for one in (judged.genres if judged is not None else ())}
        for name in classifiers:
            genre = genres.get(name)
            cells.append(cell_of(genre.estimates.get(measure), unjudged=bool(genre.no_verdict)) if genre else Cell())
        # The number of seeds has a column of its own.
        rows.append(replace(line, name=system.name if system is not None else line.name, cells=tuple(cells)))
    heads = (
        *group_heads(evaluation, *(("paper", head) for head in ("BCS ↑", "BHS ↑", "F1-score ↑"))),
        *(f"{first.distances[number].column} ↓" for number in distances),
        *(f"Genre KLD ({name}) ↓" for name in classifiers),
    )
    return Grid("Table 1", heads, tuple(rows), _caption(evaluation, to if classifiers else "", bool(distances)))


def _caption(evaluation: Evaluation, label: str, sound: bool) -> str:
    rhythm = evaluation.systems[0].rhythm
    parts = [
        f"{count(evaluation.clips, 'clip')} of {count(evaluation.songs, 'song')}, compared with "
        f"{evaluation.reference}. BCS, BHS and F1-score: onsets matched one to one within 0.2 s, F1 from the means. In "
        "brackets: 95 % interval over songs, and over seeds where there are several; for chance, the middle 95 % of "
        f"{rhythm.draws} draws."
    ]
    if sound:
        parts.append("FAD: of all clips together, in brackets the least and the greatest of several seeds.")
    if label:
        parts.append(f"Genre KLD: divergence to {label}.")
    parts += [
        f"No verdict on the genre of {system.name}: {genre.no_verdict}."
        for system in evaluation.systems
        for genre in system.genres
        if genre.no_verdict
    ]
    return f"{' '.join(parts)}{about_ceiling(evaluation)}{about_verdicts(evaluation)}"


def _texts(row: Row) -> list[str]:
    return [printable(row.name), *(cell.text() for cell in row.cells), "-" if row.seeds is None else str(row.seeds)]


def _markdown(grid: Grid) -> str:
    lines = [["", *grid.columns, SEEDS], ["---", *["---:"] * (len(grid.columns) + 1)], *map(_texts, grid.rows)]
    table = "\n".join(f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines)
    return f"{table}\n\n{grid.caption}\n"


def _latex(grid: Grid) -> str:
    lines = [(row.is_system, _texts(row)) for row in grid.rows]
    return latex_table((grid.title, grid.caption), (*grid.columns, SEEDS), lines)


def _csv(grid: Grid) -> str:
    """A line for each system, the true music and each kind of chance; each figure with both ends of its interval.

    The last column says which figures are none to judge by.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [head.removesuffix(" ↑").removesuffix(" ↓") for head in grid.columns]
    writer.writerow(
        ("system", "seeds", *(f"{name}{end}" for name in names for end in ("", " low", " high")), "remarks")
    )
    for row in grid.rows:
        figures = (value for cell in row.cells for value in (cell.value, cell.low, cell.high))
        remarks = (f"{name}: {cell.qualified}" for name, cell in zip(names, row.cells, strict=True) if cell.qualified)
        writer.writerow((row.name, row.seeds, *figures, "; ".join(remarks)))
    return text.getvalue()


STYLES: Mapping[str, Callable[[Grid], str]] = {"markdown": _markdown, "latex": _latex, "csv": _csv}
"""How a table may be written."""
