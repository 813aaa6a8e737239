"""What follows from an evaluation, in words that fit a narrow terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from d2m_cli.evaluation.genre.divergence import GenreScores
from d2m_cli.evaluation.results import Ceiling, Comparison, Evaluation, GenreResult, SystemResult
from d2m_cli.evaluation.rhythm.scores import GROUPS, ONSET_GROUPS, Estimate, ProtocolScores, Scores
from d2m_cli.evaluation.rhythm.summary import Difference, Summary
from d2m_cli.evaluation.sound.frechet import Distance
from d2m_cli.report.evaluation_table import remark_lines, rich_tables
from d2m_cli.report.evaluation_verdict import fold, verdict_lines
from tests.report.evaluations import evaluation, known_beats

NOTHING = Estimate(0.0, 0.0, 0.0)


def scores(name: str, f1: Estimate) -> Scores:
    return Scores(name, 5, 5, (ProtocolScores("beats70", f1, f1, f1, 0.1, 0.1),), None, None, NOTHING, NOTHING)


def system(name: str, f1: Estimate, *chance: float, seeds: tuple[str, ...] = ("",), **rest: object) -> SystemResult:
    floors = tuple(scores(str(number), Estimate(value, 0.0, 1.0)) for number, value in enumerate(chance))
    rhythm = Summary(scores(name, f1), floors, (), (), "a tracker", 100, 20, 0)
    return replace(SystemResult(name, rhythm, (), (), None, (), seeds), **rest)  # type: ignore[arg-type]


def told(*systems: SystemResult, width: int = 200, **rest: object) -> list[str]:
    found = Evaluation(5, 5, "the true music", systems, (), (), ())
    return verdict_lines(replace(found, **rest), width)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("f1", "verdict"),
    [
        (Estimate(0.5, 0.25, 0.75), "shown (one seed), F1 0.50 [0.25, 0.75], chance 0.24"),
        (Estimate(0.22, 0.24, 0.4), "not shown (one seed), F1 0.22 [0.24, 0.40], chance 0.24"),
        (Estimate(0.22, 0.1, 0.2), "not shown (one seed), F1 0.22 [0.10, 0.20], chance 0.24"),
        (Estimate(0.05, 0.0, 0.11), "worse than chance (one seed), F1 0.05 [0.00, 0.11], chance 0.24"),
        (Estimate(0.9, None, None), "can't be told from one song, F1 0.90, chance 0.24"),
    ],
)
def test_music_follows_where_the_whole_interval_is_above_all_chance(f1: Estimate, verdict: str) -> None:
    # Chance scores 0.12 and 0.24, each of another kind.
    assert f"  follows the dance: {verdict}" in told(system("x", f1, 0.12, 0.24))


def test_several_seeds_are_counted_and_leave_no_doubt_about_one() -> None:
    x = system("x", Estimate(0.5, 0.25, 0.75), 0.24, seeds=("1", "2", "3"))
    lines = told(x)
    assert lines[:3] == ["5 clips of 5 songs, compared with the true music", "", "x, 3 seeds"]
    assert "  follows the dance: shown, F1 0.50 [0.25, 0.75], chance 0.24" in lines
    assert told(x, clips=1, songs=1)[0].startswith("1 clip of 1 song, ")


def test_the_true_music_bounds_what_can_be_shown() -> None:
    x = system("x", Estimate(0.5, 0.25, 0.75), 0.24)

    def line(true: Estimate, given: tuple[str, ...]) -> str:
        return told(x, ceiling=Ceiling(scores("true music", true), given))[3]

    figures = "F1 0.50 [0.25, 0.75], chance 0.24, true music"
    assert line(Estimate(0.9, 0.8, 1.0), ONSET_GROUPS) == f"  follows the dance: shown (one seed), {figures} 0.90"
    assert line(Estimate(1.0, 1.0, 1.0), GROUPS) == f"  follows the dance: shown (one seed), {figures} 1.00 (given)"
    # Where the tracker does not find even its beat, nothing can be shown by it.
    deaf = f"no verdict (not even the true music is shown to), {figures} 0.30"
    assert line(Estimate(0.3, 0.2, 0.4), ()) == f"  follows the dance: {deaf}"


def genre(right: Estimate | None, no_verdict: str = "", apart: Estimate | None = None) -> GenreResult:
    estimates = {"genre.accuracy": right, "genre.kld_reference": apart}
    return GenreResult(
        GenreScores("listener", 5, None, None, None, 0, None),
        {name: estimate for name, estimate in estimates.items() if estimate is not None},
        no_verdict,
    )


def test_genre_and_sound() -> None:
    distances = (
        Distance("FAD", "listener", 47.62, 40, 40),
        Distance("FAD-infinity", "listener", 40.0, 40, 40),
        Distance("KAD", "listener", -0.04, 40, 40),
        Distance("FAD", "vggish", None, 40, 40),
    )

    def lines(found: GenreResult) -> list[str]:
        ceiling = Ceiling(scores("true music", NOTHING), GROUPS, (genre(Estimate(0.9, 0.8, 1.0)),))
        x = system("x", NOTHING, 0.24, distances=distances, genres=(found,))
        return told(x, ceiling=ceiling)[4:6]

    assert lines(genre(Estimate(0.6, 0.2, 0.8))) == [
        "  distance to the true music (listener): FAD 47.6, KAD 0.0",
        "  genre (listener): shown (one seed), right 0.60 [0.20, 0.80] of clips, chance 0.10, true music 0.90",
    ]
    assert lines(genre(Estimate(0.6, 0.1, 0.8)))[1].startswith("  genre (listener): not shown (one seed), right 0.60")
    assert lines(genre(Estimate(1.0, 1.0, 1.0), "it knows it"))[1] == "  genre: no verdict, it knows it"
    assert lines(genre(None, apart=Estimate(0.5, 0.2, 0.8)))[1] == (
        "  genre (listener): KLD to the true music 0.50 [0.20, 0.80]"
    )


def test_systems_are_compared_with_the_first() -> None:
    x, y, z = (system(name, NOTHING, 0.24) for name in "xyz")

    def compared(first: str, second: str, verdict: str, seeds: tuple[int, int] = (1, 1)) -> Comparison:
        differences = (
            Difference("paper.f1", 0.5, 0.25, 0.75, 0.01, "first is higher"),
            Difference("beats70.f1", -0.5, -0.75, -0.25, 0.01, verdict),
            Difference("genre.accuracy (listener)", 1.0, 1.0, 1.0, 0.01, "no verdict: listener can't judge"),
        )
        return Comparison(first, second, differences, seeds)

    comparisons = (
        compared("x", "y", "second is higher"),
        compared("x", "z", "no difference shown", (2, 2)),
        compared("y", "z", "first is higher"),
    )
    lines = told(x, y, z, comparisons=comparisons)
    at = lines.index("x against y")
    assert lines[at : at + 5] == [
        "x against y",
        "  follows the dance: y is better (one seed), F1 -0.50 [-0.75, -0.25]",
        "",
        "x against z",
        "  follows the dance: no difference shown, F1 -0.50 [-0.75, -0.25]",
    ]
    assert "y against z" not in lines


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for found in (evaluation(), known_beats(evaluation())):
        lines = [*verdict_lines(found, width), *(part for line in remark_lines(found) for part in fold(line, width))]
        assert max(map(len, lines)) <= width
        assert all(line == line.rstrip() for line in lines)
        assert "\u00a0" not in "".join(lines)
        # A figure stays with its name, but for the sentences at the end.
        words = verdict_lines(found, width)
        findings = words[: len(words) - words[::-1].index("")]
        assert not any(line.endswith((" F1", " chance", " right")) for line in findings)


def test_eighty_columns_without_colour_hold_everything() -> None:
    found = known_beats(evaluation())
    out = io.StringIO()
    console = Console(file=out, width=80, no_color=True)
    for table in rich_tables(found, 80):
        console.print(table)
    text = "\n".join([*verdict_lines(found, 80), out.getvalue()])
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "…" not in text
    # Nothing but figures, rules and folded sentences: no line holds a lone end of a cell.
    assert not any(line.strip() in {"]", ",", "│"} for line in text.splitlines())


def test_folding_sets_in_what_goes_on_and_shows_control_characters() -> None:
    assert fold("a name with \x1b[31m", 80) == ["a name with \\x1b[31m"]
    assert fold("one two three four five six seven eight nine", 20, "  ") == [
        "  one two three four five six seven",
        "      eight nine",
    ]
    assert fold("x" * 60, 40) == ["x" * 60]
