"""``d2m listening-test``: people rate music beside its dances, blinded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.eval import NAME, SYSTEM, named_systems, stdout_console

app = typer.Typer(
    help="A listening test for people: make the page, then score the answers.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("make")
def make(
    generated: Annotated[
        Path, typer.Argument(help="Folder of generated music or of videos with it.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for index.html, to give away, and key.json, to keep.")
    ] = Path("listening_test"),
    reference: Annotated[
        Path | None,
        typer.Option(help="Folder of the true music, which is then rated as a further system.", show_default=False),
    ] = None,
    dances: Annotated[
        Path | None,
        typer.Option(help="Folder of the dance videos; needed where the systems have only sound.", show_default=False),
    ] = None,
    system: Annotated[list[str] | None, SYSTEM] = None,
    name: Annotated[str, NAME] = "generated",
    count: Annotated[
        int | None, typer.Option(min=1, help="How many dances to use, drawn by chance.", show_default="all")
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed/--no-embed", help="Media inside the page, or in a folder beside it.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Random seed of the dances used and of their order.")] = 0,
) -> None:
    """Write a blinded page on which people rate how well music and dance go together, and how good the music is."""
    from d2m_cli.evaluation.listening.page import make_listening_test, with_true_music
    from d2m_cli.ground.progress import Progress
    from d2m_cli.report.opinion_table import made_lines

    systems = with_true_music(named_systems(name, generated, system or []), reference)
    made = make_listening_test(systems, out, dances=dances, count=count, seed=seed, embed=embed, progress=Progress())
    for line in made_lines(made):
        print(line, file=sys.stderr)
    print(made.page)


@app.command("score")
def score(
    answers: Annotated[
        list[Path], typer.Argument(help="Files that listeners sent back, or folders of them.", show_default=False)
    ],
    key: Annotated[Path, typer.Option(help="key.json of the listening test.", show_default=False)],
    json_out: Annotated[bool, typer.Option("--json", help="One JSON document on stdout in place of a table.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(help="Random seed of the intervals.")] = 0,
) -> None:
    """Mean opinion scores, 1 to 5 (5 is best), from the files that listeners sent back."""
    from d2m_cli.evaluation.listening.answers import answer_files
    from d2m_cli.evaluation.listening.opinions import score_answers
    from d2m_cli.report.opinion_table import opinion_lines, opinion_table

    scores = score_answers(answer_files(answers, key), key, resamples, seed)
    if json_out:
        print(json.dumps(scores.to_json(), indent=2, allow_nan=False))
        return
    stdout_console().print(opinion_table(scores))
    for line in opinion_lines(scores):
        print(line, file=sys.stderr)
