"""``d2m eval``: how well music fits its dances."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from d2m_cli.api.evaluation import EvaluateOptions
from d2m_cli.commands.common import DEVICE_NAMES, MACHINE, Decoder, DecoderOption, known_device
from d2m_cli.commands.logged import with_log
from d2m_cli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_COMPARED, _MODELS, _OUTPUT = "What is compared", "Models", "Output"
_DEFAULT = EvaluateOptions()

SYSTEM: Any = typer.Option(
    help='NAME=FOLDER of a further system; can be repeated. NAME="OUT/seed*" for a folder of each of its seeds.',
    rich_help_panel=_COMPARED,
    show_default=False,
)
NAME: Any = typer.Option(help="Name of the first system.", rich_help_panel=_COMPARED)


OFF_TERMINAL = 80
"""Columns of what is printed where there is no terminal."""


class Table(StrEnum):
    """Tables that are printed alone."""

    paper = "paper"


class TableFormat(StrEnum):
    """How such a table is written."""

    markdown = "markdown"
    latex = "latex"
    csv = "csv"


def _moved(command: str) -> Any:
    """A hidden option of old, which names the command that took its place."""

    def refuse(context: typer.Context, parameter: Any, value: object) -> None:
        if context.get_parameter_source(parameter.name).name == "COMMANDLINE":  # type: ignore[union-attr]
            raise UsageError(f"{parameter.opts[0]} is no longer an option of eval: use 'd2m listening-test {command}'")

    return {"hidden": True, "is_eager": True, "expose_value": False, "callback": refuse}


@with_log("eval")
def evaluate(
    context: typer.Context,
    generated: Annotated[
        Path,
        typer.Argument(
            help="Folder of generated music or of videos with it; a quoted pattern for several seeds of a system.",
            show_default=False,
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the true music, or of videos with it; files go together by name, results of d2m by the "
            "video in their .json. Scored itself as the ceiling.",
            rich_help_panel=_COMPARED,
            show_default=False,
        ),
    ] = None,
    dances: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the dance videos or of their .pose.npz files: beats are compared with those of the dance, "
            "where true ones are not known.",
            rich_help_panel=_COMPARED,
            show_default=False,
        ),
    ] = None,
    beats: Annotated[
        Path | None,
        typer.Option(
            help="True beats in place of tracked ones: folder of .txt, .csv, .beats or .json files, or a table (.csv) "
            "with the column clip and either time or bpm and first_beat.",
            rich_help_panel=_COMPARED,
            show_default=False,
        ),
    ] = None,
    system: Annotated[list[str] | None, SYSTEM] = None,
    name: Annotated[str, NAME] = "generated",
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
            rich_help_panel=_MODELS,
            show_default="listener",
        ),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="For genre: listener (embedded), sincresnet (see 'd2m weights pull'), sincresnet:FILE, or none; can "
            "be repeated.",
            rich_help_panel=_MODELS,
            show_default="listener",
        ),
    ] = None,
    clap: Annotated[
        Path | None,
        typer.Option(
            help="clap (see 'd2m weights pull') or the folder of a CLAP model: how well the music follows its prompts.",
            rich_help_panel=_MODELS,
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Prompt of clips that --clips gives none for.", rich_help_panel=_MODELS, show_default=False),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar=DEVICE_NAMES, callback=known_device, help="Where to estimate poses.", rich_help_panel=MACHINE
        ),
    ] = "auto",
    decoder: DecoderOption = Decoder.auto,
    full: Annotated[
        bool, typer.Option("--full", help="All tables below the verdict.", rich_help_panel=_OUTPUT)
    ] = False,
    table: Annotated[
        Table | None,
        typer.Option(
            help="In place of the verdict one table: paper, the columns of the paper's Table 1 with chance, the true "
            "music, intervals and numbers of seeds.",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    table_format: Annotated[
        TableFormat, typer.Option(help="How --table is written.", rich_help_panel=_OUTPUT)
    ] = TableFormat.markdown,
    json_out: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout in place of words.", rich_help_panel=_OUTPUT)
    ] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the figures of all tables to this file.", rich_help_panel=_OUTPUT, show_default=False
        ),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option(help="Write all tables to this file for LaTeX.", rich_help_panel=_OUTPUT, show_default=False),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=100, help="Bootstrap resamples of the intervals.", rich_help_panel=_OUTPUT)
    ] = _DEFAULT.resamples,
    draws: Annotated[
        int, typer.Option(min=20, help="Draws of each kind of chance.", rich_help_panel=_OUTPUT)
    ] = _DEFAULT.draws,
    seed: Annotated[
        int, typer.Option(help="Random seed of intervals and chance.", rich_help_panel=_OUTPUT)
    ] = _DEFAULT.seed,
    mos: Annotated[str | None, typer.Option("--mos", **_moved("score"))] = None,
    listening_test: Annotated[str | None, typer.Option("--listening-test", **_moved("make"))] = None,
    dances_in_test: Annotated[str | None, typer.Option("--dances-in-test", **_moved("make"))] = None,
    embed: Annotated[bool, typer.Option("--embed/--no-embed", **_moved("make"))] = True,
) -> None:
    """Score music against the true music, true beats or the dance, between what chance and the true music score."""
    from d2m_cli.api.evaluation import evaluate as score
    from d2m_cli.batch.voice import tell
    from d2m_cli.ground.files import atomic_path
    from d2m_cli.ground.progress import Progress
    from d2m_cli.report.evaluation_table import remark_lines, rich_tables, to_csv, to_latex
    from d2m_cli.report.evaluation_verdict import fold, verdict_lines
    from d2m_cli.report.paper_table import paper_table

    _check_output(context, full, table, json_out)
    options = EvaluateOptions(
        clips=clips,
        embedding=tuple(embedding or _DEFAULT.embedding),
        classifier=tuple(classifier or _DEFAULT.classifier),
        clap=clap,
        prompt=prompt,
        device=device,
        decoder=decoder.value,
        resamples=resamples,
        draws=draws,
        seed=seed,
    )
    systems = named_systems(name, generated, system or [])
    progress = Progress(tell=tell)
    found = score(systems, reference=reference, dances=dances, beats=beats, options=options, progress=progress)
    # Printed first: what took long to find is not lost where a file can't be written.
    out = stdout_console(OFF_TERMINAL)
    if json_out:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
    elif table is not None:
        print(paper_table(found, table_format.value), end="")
    else:
        print("\n".join(verdict_lines(found, out.width)))
        for one in rich_tables(found, out.width) if full else ():
            out.print()
            out.print(one)
    for line in remark_lines(found, full or json_out or table is not None):
        for folded in fold(line, out.width):
            print(folded, file=sys.stderr)
    if not full and not json_out and table is None:
        print("all figures: --full; one table for a paper: --table paper", file=sys.stderr)
    for path, text in ((csv_file, to_csv), (latex, to_latex)):
        if path is not None:
            with atomic_path(path) as part:
                part.write_text(text(found), encoding="utf-8", errors="backslashreplace")


def named_systems(name: str, generated: Path, others: list[str]) -> dict[str, Path]:
    """The first system and what ``--system`` adds, name to folder."""
    systems = {name: generated.expanduser()}
    for text in others:
        label, equals, folder = text.partition("=")
        if not (label and equals and folder):
            raise UsageError(f"--system {text}: give NAME=FOLDER")
        if label in systems:
            raise UsageError(f"--system {text}: there is a system {label!r} already; choose another name")
        systems[label] = Path(folder).expanduser()
    return systems


def _check_output(context: typer.Context, full: bool, table: Table | None, json_out: bool) -> None:
    """Refuse two things that stdout would have to hold, and a format of nothing."""
    wanted = [flag for flag, given in (("--full", full), ("--table", table), ("--json", json_out)) if given]
    if len(wanted) > 1:
        raise UsageError(f"{' and '.join(wanted)} are each printed in place of the other: choose one")
    source = context.get_parameter_source("table_format")
    if table is None and source is not None and source.name == "COMMANDLINE":
        raise UsageError("--table-format says how a table is written: name the table with --table paper")


def stdout_console(off_terminal: int = 200) -> Console:
    """For tables on stdout.

    Parameters
    ----------
    off_terminal
        Columns where stdout is no terminal and COLUMNS does not say.
    """
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else off_terminal)
