"""Tables of an evaluation: for the terminal, for spreadsheets and for papers, all from the same grids."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from d2m_cli.ground.words import count
from d2m_cli.report.evaluation_grids import grids
from d2m_cli.report.evaluation_verdict import VERDICT_DISTANCES
from d2m_cli.report.grid import Grid

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Evaluation

NARROWEST = 60
"""Columns of a terminal under which a table is wider than it."""
LONGEST_LINE = 120
"""Characters of a line of caption."""
HEAD = 12
"""Characters from which the head of a column is folded."""


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
        last = at < len(grid.rows) and row.is_system and not grid.rows[at].is_system
        style = None if row.is_system else "dim"
        table.add_row(*(Text(column[at]) for column in columns), style=style, end_section=last)
    caption = textwrap.fill(grid.caption, min(width, LONGEST_LINE))
    title = textwrap.fill(grid.title, min(width, LONGEST_LINE), break_long_words=False, break_on_hyphens=False)
    return Group(Text(title, "bold"), table, *([Text(caption, "dim")] if caption else []))


def to_csv(evaluation: Evaluation) -> str:
    """One line a row and figure of the tables: name, seeds, table, figure, value, low, high, verdict."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("system", "seeds", "table", "figure", "value", "low", "high", "verdict"))
    for grid in grids(evaluation):
        for row in grid.rows:
            for head, cell in zip(grid.columns, row.cells, strict=True):
                if cell.value is not None:
                    figure = head.removesuffix(" ↑").removesuffix(" ↓")
                    figures = (cell.value, cell.low, cell.high)
                    writer.writerow((row.name, row.seeds, grid.title, figure, *figures, cell.qualified))
    return text.getvalue()


def to_latex(evaluation: Evaluation) -> str:
    """The tables as ``tabular`` environments with booktabs' rules."""
    return "\n".join(
        latex_table(
            (grid.title, grid.caption),
            grid.columns,
            [(row.is_system, [row.name, *(cell.text() for cell in row.cells)]) for row in grid.rows],
        )
        for grid in grids(evaluation)
    )


def latex_table(comments: Sequence[str], heads: Sequence[str], lines: Sequence[tuple[bool, Sequence[str]]]) -> str:
    """One table for LaTeX.

    Parameters
    ----------
    comments
        Stand above it.
    heads
        Of all columns but that of the names.
    lines
        Whether it is a system's, and its texts, name first; a rule parts systems from what follows.
    """
    out = [
        *(f"% {part}" for part in comments),
        rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
        r"\toprule",
        rf" & {' & '.join(map(_escape, heads))} \\",
        r"\midrule",
    ]
    ruled = False
    for is_system, texts in lines:
        if not is_system and not ruled:
            out.append(r"\midrule")
            ruled = True
        out.append(" & ".join(map(_escape, texts)) + r" \\")
    return "\n".join([*out, r"\bottomrule", r"\end{tabular}", ""])


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


def remark_lines(evaluation: Evaluation, full: bool = True) -> list[str]:
    """What qualifies the figures: clips that are left out, and what they rest on.

    Parameters
    ----------
    evaluation
        All that was found.
    full
        Of all figures, or only of those that `d2m_cli.report.evaluation_verdict` names.
    """
    lines = [f"left out: {one.clip}: {', '.join(one.lacks)}" for one in evaluation.missing]
    if evaluation.missing:
        lines.insert(0, f"{count(evaluation.clips, 'clip')} scored, {len(evaluation.missing)} left out")
    notes: list[tuple[str, str]] = []
    for system in evaluation.systems:
        for found in system.distances:
            if full or found.kind in VERDICT_DISTANCES:
                notes += [(system.name, f"{found.column}: {note}") for note in found.notes]
        for genre in system.genres:
            name = genre.scores.classifier
            told = (genre.doubt, *genre.scores.notes) if full else (genre.doubt,)
            notes += [(system.name, f"{name}: {note}") for note in told if note]
            notes += [(system.name, f"{name} left out {clip}: {why}") for clip, why in genre.scores.left_out]
    for note in dict.fromkeys(note for _, note in notes):
        whose = list(dict.fromkeys(name for name, other in notes if other == note))
        everyone = len(whose) == len(evaluation.systems)
        lines.append(note if everyone else f"{', '.join(whose)}: {note}")
    return [*dict.fromkeys([*evaluation.remarks, *lines])]
