from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from d2m_cli.evaluation.results import Evaluation
from d2m_cli.evaluation.rhythm.scores import ONSET_GROUPS
from d2m_cli.report.evaluation_grids import grids
from d2m_cli.report.evaluation_table import remark_lines, rich_tables, to_csv, to_latex
from d2m_cli.report.grid import Cell
from tests.report.evaluations import evaluation, known_beats


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluation()


def test_a_cell_says_figure_interval_and_verdict() -> None:
    assert Cell().text() == "-"
    assert Cell(0.5).text() == "0.500"
    assert Cell(0.5, 0.25, 0.75).text() == "0.500 [0.250, 0.750]"
    assert Cell(0.5, 0.25, 0.75).text(2, "\n") == "0.500\n[0.25, 0.75]"
    assert Cell(0.5, -0.25, 0.75, "no difference shown").text() == "+0.500 [-0.250, +0.750] no difference shown"
    assert Cell(0.5, verdict="one song: no interval").text() == "+0.500 one song: no interval"


def test_figures_that_no_verdict_follows_from_say_so(found: Evaluation) -> None:
    first, second = found.systems
    own = replace(first, genres=(replace(first.genres[0], no_verdict="it learned from the same"),))
    judged = replace(found, systems=(own, second))
    genre = grids(judged)[4]
    assert genre.rows[0].cells[0].text() == "0.500 [0.250, 0.750] (no verdict)"
    assert genre.rows[1].cells[0].text() == "0.500 [0.250, 0.750]"
    assert "No verdict on second best: it learned from the same." in genre.caption
    lines = [line for line in csv.DictReader(io.StringIO(to_csv(judged))) if line["figure"].startswith("genre right")]
    assert [line["verdict"] for line in lines if line["system"] == "second best"] == ["no verdict"]


def test_every_row_has_every_column(found: Evaluation) -> None:
    tables = grids(found)
    assert len(tables) == 6
    for grid in tables:
        assert {len(row.cells) for row in grid.rows} == {len(grid.columns)}, grid.title
        assert grid.caption
        assert all(head[-2:] in (" ↑", " ↓") for head in grid.columns) or grid is tables[-1]


def test_table_1_and_what_chance_scores_under_it(found: Evaluation) -> None:
    main = grids(found)[0]
    assert main.columns == ("BCS ↑", "CSD ↓", "BHS ↑", "HSD ↓", "F1 ↑", "beats70 F1 ↑")
    assert main.rows[0].name == "second best"
    assert [cell.value for cell in main.rows[0].cells] == [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    assert [row.name for row in main.rows if row.chance] == [
        "chance: metronome at the true tempo",
        "chance: metronome at a random tempo",
        "chance: true music of another song",
        "chance: second best's music of another song",
        "chance: R&D_50% [x]'s music of another song",
    ]
    assert "predominant local pulse" in main.caption


def test_one_system_has_one_floor_of_each_kind(found: Evaluation) -> None:
    alone = replace(found, systems=found.systems[:1], comparisons=())
    assert len(grids(alone)[0].rows) == 5
    assert "Differences" not in to_csv(alone)


def test_embedders_have_columns_of_their_own(found: Evaluation) -> None:
    sound = grids(found)[3]
    assert sound.columns == ("FAD (listener) ↓", "FAD (vggish) ↓")
    assert [cell.text() for cell in sound.rows[0].cells] == ["1.500", "-"]


def test_a_difference_is_named_after_its_systems_whatever_they_are_called(found: Evaluation) -> None:
    grid = grids(found)[-1]
    assert grid.columns == ("second best less R&D_50% [x]",)
    assert {row.name: row.cells[0].text() for row in grid.rows} == {
        "beats70 F1 ↑": "+0.500 [+0.250, +0.750] second best is better (one seed)",
        "paper F1 ↑": "-0.500 [-0.750, -0.250] R&D_50% [x] is better (one seed)",
        "KLD to label (listener) ↓": "+0.500 [+0.250, +0.750] R&D_50% [x] is better (one seed)",
        "genre right (listener) ↑": "+0.100 [-0.100, +0.300] no difference shown",
    }


def test_the_true_music_stands_between_systems_and_chance(found: Evaluation) -> None:
    tables = grids(known_beats(found))
    for grid in (*tables[:3], tables[4]):
        (number,) = (number for number, row in enumerate(grid.rows) if row.ceiling)
        assert (number, grid.rows[number].name) == (2, "true music")
        assert not any(row.chance for row in grid.rows[:number])
    # Its onsets are the reference itself, its beats are not.
    assert [cell.given for cell in tables[0].rows[2].cells] == [True] * 5 + [False]
    assert tables[0].rows[2].cells[0].text() == "1.000 (given)"
    assert tables[0].rows[2].cells[5].text().startswith("1.000 [")
    assert "(given)" in tables[0].caption
    assert not any(cell.given for cell in (*tables[2].rows[2].cells, *tables[4].rows[2].cells))
    assert tables[4].rows[2].cells[0].text() == "0.500 [0.250, 0.750]"
    # Against itself it has no distance.
    assert not any(row.ceiling for row in tables[3].rows)
    assert not any(row.ceiling for grid in grids(found) for row in grid.rows)


def test_seeds_are_counted(found: Evaluation) -> None:
    several = known_beats(found)
    assert [row.name for row in grids(several)[0].rows[:2]] == ["second best, 2 seeds", "R&D_50% [x]"]
    assert grids(several)[3].rows[0].cells[0].text() == "1.500 [1.250, 1.750]"
    lines = list(csv.DictReader(io.StringIO(to_csv(several))))
    assert {(line["system"], line["seeds"]) for line in lines if line["figure"] == "F1"} >= {
        ("second best, 2 seeds", "2"),
        ("R&D_50% [x]", "1"),
        ("true music", ""),
    }
    assert {line["verdict"] for line in lines if line["system"] == "true music" and line["figure"] == "BCS"} == {
        "given by construction"
    }
    (comparison,) = found.comparisons
    told = grids(replace(found, comparisons=(replace(comparison, seeds=(2, 3)),)))[-1].rows
    assert told[0].cells[0].text() == "+0.500 [+0.250, +0.750] second best is better"


def test_what_no_verdict_follows_from_is_marked(found: Evaluation) -> None:
    tables = grids(replace(found, no_verdict=ONSET_GROUPS))
    assert tables[0].columns[4:] == ("F1 (no verdict) ↑", "beats70 F1 ↑")
    assert tables[1].columns[3:5] == ("cdcd BHS (no verdict) ↑", "beats70 F1 ↑")
    assert "(no verdict)" in tables[0].caption
    assert "(no verdict)" not in to_csv(found)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_fit_the_terminal_and_lose_no_figure(found: Evaluation, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for table in rich_tables(found, width):
        console.print(table)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "R&D_50% [x]" in text
    cells = [cell for grid in grids(found) for row in grid.rows for cell in row.cells if cell.value is not None]
    assert cells
    for cell in cells:
        assert f"{cell.value:.3f}" in text
    assert "…" not in text


def test_wide_tables_have_one_line_a_row(found: Evaluation) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(rich_tables(found, 200)[0])
    assert "│ second best                                 │ 1.000 [1.000, 1.000] │ 0.000 │" in out.getvalue()


def test_csv_holds_the_figures_exactly(found: Evaluation) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    cells = [
        (grid.title, row.name, head[:-2] if head[-1] in "↑↓" else head, cell)
        for grid in grids(found)
        for row in grid.rows
        for head, cell in zip(grid.columns, row.cells, strict=True)
        if cell.value is not None
    ]
    assert len(lines) == len(cells)
    for line, (table, name, figure, cell) in zip(lines, cells, strict=True):
        assert (line["table"], line["system"], line["figure"], float(line["value"])) == (
            table,
            name,
            figure,
            cell.value,
        )
        assert [float(line[key]) if line[key] else None for key in ("low", "high")] == [cell.low, cell.high]
        assert line["verdict"] == cell.verdict


def test_latex_is_whole(found: Evaluation) -> None:
    text = to_latex(found)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 6
    columns = 0
    for line in text.splitlines():
        if line.startswith(r"\begin{tabular}"):
            columns = len(line.removeprefix(r"\begin{tabular}{").removesuffix("}"))
        if line.endswith(r" \\"):
            assert line.replace(r"\&", "").count("&") == columns - 1, line
            assert "%" not in line.replace(r"\%", "")
            assert "_" not in line.replace(r"\_", "")
            assert not line.startswith("[")
            assert line.count("{") == line.count("}")
        else:
            assert line.startswith(("%", "\\")) or not line
    assert r"R\&D\_50\% {[}x]" in text
    assert r"tempo within 4 \% $\uparrow$" in text


def test_signs_of_latex_are_escaped(found: Evaluation) -> None:
    odd = replace(found.systems[0], name="a\\b{c}~d^e$f#g")
    text = to_latex(replace(found, systems=(odd,), comparisons=()))
    assert r"a\textbackslash{}b\{c\}\textasciitilde{}d\textasciicircum{}e\$f\#g & " in text


def test_remarks_name_what_is_left_out_and_whose_note_it_is(found: Evaluation) -> None:
    lines = remark_lines(found)
    assert lines[0] == "a remark"
    assert "2 clips scored, 1 left out" in lines
    assert "left out: lost: no reference" in lines
    assert lines.count("FAD (listener): few frames") == 1
    first, second = found.systems
    lines = remark_lines(replace(found, systems=(first, replace(second, distances=(), genres=()))))
    assert "second best: FAD (listener): few frames" in lines
    assert "second best: listener left out c: too short" in lines


def test_no_figure_is_less_than_nothing() -> None:
    assert Cell(-1e-9, -1e-9, 0.25).text() == "0.000 [0.000, 0.250]"
