"""What tables of an evaluation are made of: figures, lines and heads, and the words that several tables share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2m_cli.evaluation.results import Evaluation, SystemResult
    from d2m_cli.evaluation.rhythm.scores import Estimate, Scores
    from d2m_cli.evaluation.sound.frechet import Distance

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
    unjudged
        Whether no verdict follows from it, though one does from others of its column.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""
    given: bool = False
    unjudged: bool = False

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
        if self.verdict or self.unjudged:
            parts.append(self.verdict or "(no verdict)")
        return between.join(parts)

    @property
    def qualified(self) -> str:
        """The verdict, or why the figure is none to judge by, for files that hold figures alone."""
        return "given by construction" if self.given else "no verdict" if self.unjudged else self.verdict


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


def score_lines(evaluation: Evaluation) -> Iterator[tuple[Row, Scores]]:
    """Lines yet without cells: systems, the true music, chance; floors that no system has a part in once for all."""
    systems = evaluation.systems
    for system in systems:
        yield system_line(system), system.rhythm.system
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


def system_line(system: SystemResult) -> Row:
    """Line of a system, yet without cells."""
    seeds = len(system.seeds)
    return Row(system.name if seeds == 1 else f"{system.name}, {seeds} seeds", (), seeds=seeds)


def group_heads(evaluation: Evaluation, *groups: tuple[str, str]) -> tuple[str, ...]:
    """Heads of columns, each with its group of measures; those that no verdict follows from say so."""
    unjudged = [f"{head[:-2]} (no verdict){head[-2:]}" for _, head in groups]
    return tuple(
        marked if group in evaluation.no_verdict else head
        for (group, head), marked in zip(groups, unjudged, strict=True)
    )


def cell_of(estimate: Estimate | None, given: bool = False, unjudged: bool = False) -> Cell:
    """A figure with its interval."""
    if estimate is None:
        return Cell()
    return Cell(estimate.value, estimate.low, estimate.high, given=given, unjudged=unjudged)


def distance_cell(found: Distance) -> Cell:
    """A distance, and between which it lies from one seed to the other."""
    known = [value for value in found.by_seed if value is not None]
    return Cell(found.value, min(known), max(known)) if len(known) > 1 else Cell(found.value)


def is_given(evaluation: Evaluation, line: Row, group: str) -> bool:
    """Whether a line is the true music's, and its figures of a group of measures are perfect by construction."""
    return line.ceiling and evaluation.ceiling is not None and not evaluation.ceiling.shows(group)


def about_ceiling(evaluation: Evaluation) -> str:
    """What a caption says of the true music's line, behind a space."""
    if evaluation.ceiling is None:
        return ""
    text = f" {CEILING}: what it scores itself, the ceiling."
    if evaluation.ceiling.by_construction:
        text += f" ({GIVEN}): the reference was found in it, so that this is no measurement."
    return text


def about_verdicts(evaluation: Evaluation) -> str:
    """What a caption says of measures that no verdict follows from, behind a space."""
    if not evaluation.no_verdict:
        return ""
    return (
        " (no verdict): onsets of the music are counted against beats, by which true music can score less than music "
        "that fits worse."
    )
