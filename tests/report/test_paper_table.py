"""The table that a paper could print, in every format."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from d2m_cli.evaluation.results import Evaluation
from d2m_cli.evaluation.rhythm.scores import ONSET_GROUPS, Estimate
from d2m_cli.report.paper_table import STYLES, paper_grid, paper_table
from tests.report.evaluations import evaluation, known_beats

HEADS = ("BCS", "BHS", "F1-score", "FAD (listener)", "FAD (vggish)", "Genre KLD (listener)")


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """Two systems, the first with two seeds, and the true music."""
    return known_beats(evaluation())


def test_the_columns_of_table_1_with_ceiling_and_floor(found: Evaluation) -> None:
    grid = paper_grid(found)
    assert [head[:-2] for head in grid.columns] == list(HEADS)
    assert [head[-1] for head in grid.columns] == ["↑", "↑", "↑", "↓", "↓", "↓"]
    assert [row.name for row in grid.rows] == [
        "second best",
        "R&D_50% [x]",
        "true music",
        "chance: metronome at the true tempo",
        "chance: metronome at a random tempo",
        "chance: true music of another song",
        "chance: second best's music of another song",
        "chance: R&D_50% [x]'s music of another song",
    ]
    assert [row.seeds for row in grid.rows[:3]] == [2, 1, None]
    own, true = grid.rows[0].cells, grid.rows[2].cells
    paper = next(one for one in found.systems[0].rhythm.system.protocols if one.protocol == "paper")
    assert paper.f1 is not None
    assert [cell.value for cell in own] == [paper.bcs.value, paper.bhs.value, paper.f1.value, 1.5, None, 0.5]
    assert own[3].text() == "1.500 [1.250, 1.750]"
    assert own[5].text() == "0.500 [0.250, 0.750]"
    assert [cell.text() for cell in true] == ["1.000 (given)"] * 3 + ["-", "-", "0.500 [0.250, 0.750]"]
    floor = found.systems[0].rhythm.floors[0].protocols[0]
    assert floor.f1 is not None
    assert [cell.value for cell in grid.rows[3].cells[:3]] == [floor.bcs.value, floor.bhs.value, floor.f1.value]
    assert [cell.text() for cell in grid.rows[3].cells[3:]] == ["-"] * 3
    assert "2 clips of 2 songs" in grid.caption
    assert "middle 95 % of 20 draws" in grid.caption


def test_without_labels_genre_is_compared_with_the_true_music(found: Evaluation) -> None:
    estimates = {"genre.kld_reference": Estimate(0.25, None, None)}
    systems = tuple(
        replace(system, genres=(replace(system.genres[0], estimates=estimates, no_verdict="it knows it"),))
        for system in found.systems
    )
    grid = paper_grid(replace(found, systems=systems, no_verdict=ONSET_GROUPS))
    assert grid.rows[0].cells[5].text() == "0.250 (no verdict)"
    assert grid.rows[2].cells[5].text() == "-"
    assert "Genre KLD: divergence to the true music." in grid.caption
    assert "No verdict on the genre of second best: it knows it." in grid.caption
    assert grid.columns[2] == "F1-score (no verdict) ↑"


def test_without_labels_and_without_true_music_there_is_no_divergence(found: Evaluation) -> None:
    estimates = {"genre.entropy": Estimate(0.25, None, None)}
    systems = tuple(
        replace(system, distances=(), genres=(replace(system.genres[0], estimates=estimates),))
        for system in found.systems
    )
    grid = paper_grid(replace(found, systems=systems))
    assert [head[:-2] for head in grid.columns] == list(HEADS[:3])
    assert "Genre KLD" not in grid.caption
    assert {len(row.cells) for row in grid.rows} == {3}


def test_markdown(found: Evaluation) -> None:
    odd = replace(found, systems=(replace(found.systems[0], name="a|b"), *found.systems[1:]))
    lines = paper_table(odd, "markdown").splitlines()
    assert lines[0] == f"|  | {' | '.join(paper_grid(found).columns)} | Seeds |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2].startswith(r"| a\|b | 1.000 [1.000, 1.000] | ")
    assert lines[2].endswith(" | 1.500 [1.250, 1.750] | - | 0.500 [0.250, 0.750] | 2 |")
    assert {line.replace(r"\|", "").count("|") for line in lines[:10]} == {9}
    assert lines[10] == ""
    assert lines[11] == paper_grid(odd).caption


def test_latex(found: Evaluation) -> None:
    text = paper_table(found, "latex")
    assert r"\begin{tabular}{lrrrrrrr}" in text
    assert r"R\&D\_50\% {[}x] & " in text
    assert r"F1-score $\uparrow$ & FAD (listener) $\downarrow$" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 9
    assert {line.replace(r"\&", "").count("&") for line in body} == {7}
    assert text.count(r"\midrule") == 2


def test_csv_has_both_ends_of_each_interval(found: Evaluation) -> None:
    lines = list(csv.DictReader(io.StringIO(paper_table(found, "csv"))))
    assert list(lines[0]) == [
        "system",
        "seeds",
        *(f"{head}{end}" for head in HEADS for end in ("", " low", " high")),
        "remarks",
    ]
    assert [line["seeds"] for line in lines] == ["2", "1"] + [""] * 6
    given = "; ".join(f"{head}: given by construction" for head in HEADS[:3])
    assert [line["remarks"] for line in lines] == ["", "", given] + [""] * 5
    for line, row in zip(lines, paper_grid(found).rows, strict=True):
        for head, cell in zip(HEADS, row.cells, strict=True):
            values = [float(text) if (text := line[f"{head}{end}"]) else None for end in ("", " low", " high")]
            assert values == [cell.value, cell.low, cell.high]


def test_every_style_ends_a_line(found: Evaluation) -> None:
    assert set(STYLES) == {"markdown", "latex", "csv"}
    assert all(paper_table(found, style).endswith("\n") for style in STYLES)
