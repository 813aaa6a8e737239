"""``d2m eval``: how well music fits its dances."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.generate import DECODER, Decoder, Device
from d2m_cli.errors import UsageError

_COMPARED, _LISTENERS, _OUTPUT, _PEOPLE = "What is compared", "Who listens", "Output", "Listening test"


def evaluate(
    generated: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of generated music or of videos with it; with --mos the files that listeners sent back.",
            show_default=False,
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the true music, or of videos with it; files go together by name.",
            rich_help_panel=_COMPARED,
            show_default=False,
        ),
    ] = None,
    dances: Annotated[
        Path | None,
        typer.Option(
            help="Where there is no true music: folder of the dance videos or of their .pose.npz files; the beats are "
            "then those of the dance (moments of least motion).",
            rich_help_panel=_COMPARED,
            show_default=False,
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FOLDER of a further system; can be repeated.", rich_help_panel=_COMPARED, show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the first system.", rich_help_panel=_COMPARED)] = "generated",
    clips: Annotated[
        Path | None,
        typer.Option(
            help="Table (.csv) with the column clip and any of song, genre, prompt.",
            rich_help_panel=_COMPARED,
            show_default=False,
        ),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            help="For FAD and KAD: listener (embedded), vggish or clap (see 'd2m weights pull'), vggish:FILE, "
            "clap:FOLDER, or none; can be repeated.",
            rich_help_panel=_LISTENERS,
            show_default="listener",
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="For genre: listener (embedded), sincresnet (see 'd2m weights pull'), sincresnet:FILE, or none; can "
            "be repeated.",
            rich_help_panel=_LISTENERS,
            show_default="listener",
        ),
    ] = None,
    clap: Annotated[
        Path | None,
        typer.Option(
            help="clap (see 'd2m weights pull') or the folder of a CLAP model: how well the music follows its prompts.",
            rich_help_panel=_LISTENERS,
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Prompt of clips that --clips gives none for.", rich_help_panel=_LISTENERS, show_default=False
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to estimate poses.", rich_help_panel=_LISTENERS)] = Device.auto,
    decoder: Annotated[Decoder, DECODER] = Decoder.auto,
    json_out: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout in place of tables.", rich_help_panel=_OUTPUT)
    ] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the figures of the tables to this file.", rich_help_panel=_OUTPUT, show_default=False
        ),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(help="Write the tables to this file for LaTeX.", rich_help_panel=_OUTPUT, show_default=False),
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Draws of the intervals.", rich_help_panel=_OUTPUT)] = 2000,
    draws: Annotated[int, typer.Option(min=20, help="Draws of each chance floor.", rich_help_panel=_OUTPUT)] = 200,
    seed: Annotated[int, typer.Option(help="Of all draws.", rich_help_panel=_OUTPUT)] = 0,
    listening_test: Annotated[
        Path | None,
        typer.Option(
            help="Write a blinded listening test of all systems to this folder: index.html to give away, key.json to "
            "keep. --dances names the videos where the systems have only sound.",
            rich_help_panel=_PEOPLE,
            show_default=False,
        ),
    ] = None,
    dances_in_test: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many dances to use; all if not said.", rich_help_panel=_PEOPLE, show_default=False
        ),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed/--no-embed", help="Media inside the page, or beside it.", rich_help_panel=_PEOPLE)
    ] = True,
    mos: Annotated[
        Path | None,
        typer.Option(
            help="key.json of a listening test: print opinion scores from the files that listeners sent back.",
            rich_help_panel=_PEOPLE,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score music against the true music or the dance, beside what chance would score, with intervals by song."""
    from rich.console import Console

    from d2m_cli.evaluation.listeners import listening_folders, make_judges, opinion_scores, pair_folders
    from d2m_cli.evaluation.systems import judge
    from d2m_cli.ground.files import atomic_path
    from d2m_cli.ground.progress import Progress
    from d2m_cli.report.evaluation_table import remark_lines, rich_tables, to_csv, to_latex
    from d2m_cli.report.opinion_table import made_lines, opinion_lines, opinion_table

    # Off a terminal rich takes 80 columns, which would fold long lines.
    out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)
    if (mos is not None or listening_test is not None) and (csv_file is not None or latex is not None):
        raise UsageError("--csv and --latex hold computed scores; leave them out with --mos and --listening-test")
    if mos is not None:
        if not mos.is_file():
            raise UsageError(f"--mos {mos}: no such file; it takes the key.json of a listening test")
        scores = opinion_scores(generated, mos, resamples, seed)
        if json_out:
            print(json.dumps(scores.to_json(), indent=2, allow_nan=False))
            return
        out.print(opinion_table(scores))
        for line in opinion_lines(scores):
            print(line, file=sys.stderr)
        return
    if len(generated) != 1:
        raise UsageError("name one folder of generated music; further systems go with --system NAME=FOLDER")
    systems = _systems(name, generated[0], system or [])
    if listening_test is not None:
        from d2m_cli.evaluation.listening.listening_test import make_listening_test

        folders = listening_folders(systems, reference)
        made = make_listening_test(folders, dances, listening_test, seed, dances_in_test, embed=embed)
        for line in made_lines(made):
            print(line, file=sys.stderr)
        print(made.page)
        return
    if prompt is not None and clap is None:
        raise UsageError("--prompt is for --clap FOLDER alone, which compares it with the music")
    progress = Progress()
    judges, about = make_judges(
        reference=reference,
        dances=dances,
        embeddings=embedding or ["listener"],
        classifiers=classifier or ["listener"],
        clap=clap,
        device=device.value,
        decoder=decoder.value,
    )
    pairing = pair_folders(systems, reference=reference, dances=dances, table=clips, prompt=prompt)
    found = judge(pairing, judges, progress, about_reference=about, resamples=resamples, draws=draws, seed=seed)
    # Printed first: what took long to find is not lost where a file can't be written.
    if json_out:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        for table in rich_tables(found, out.width):
            out.print(table)
            out.print()
    for line in remark_lines(found):
        print(line, file=sys.stderr)
    for path, text in ((csv_file, to_csv), (latex, to_latex)):
        if path is not None:
            with atomic_path(path) as part:
                part.write_text(text(found), encoding="utf-8", errors="backslashreplace")


def _systems(name: str, generated: Path, others: list[str]) -> dict[str, Path]:
    systems = {name: generated}
    for text in others:
        label, equals, folder = text.partition("=")
        if not (label and equals and folder):
            raise UsageError(f"--system {text}: say NAME=FOLDER")
        if label in systems:
            raise UsageError(f"--system {text}: there is a system {label!r} already; choose another name")
        systems[label] = Path(folder).expanduser()
    return systems
