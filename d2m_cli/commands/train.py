"""``d2m train``: encoders of "*" and "@" for a frozen backbone."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from d2m_cli.commands.common import Backbone, Decoder, DecoderOption, Device
from d2m_cli.commands.fields import with_options_of
from d2m_cli.commands.logged import with_log
from d2m_cli.training.options import DATA, ENCODERS, PRESETS, TrainOptions


def _finite(value: float) -> float:
    # NaN passes every comparison of the command line's own checks.
    if not math.isfinite(value):
        raise typer.BadParameter(f"must be 0 or more, not {value}")
    return value


@with_log("train")
@with_options_of(TrainOptions)
def train(
    dances: Annotated[
        Path,
        typer.Argument(
            help="AIST++ as downloaded, a folder of dance videos with sound (genre by sub-folder), or a .csv file with "
            "the columns video, audio, genre, start.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("d2m_train"),
    backbone: Backbone = "auto",
    preset: Annotated[
        str,
        typer.Option(
            help=f"Set of choices to begin with: {', '.join(PRESETS)}. Other options change single ones of them.",
            metavar="NAME",
        ),
    ] = "recommended",
    device: Device = "auto",
    decoder: DecoderOption = Decoder.auto,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of poses, rhythms and targets [OUT/cache].", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again where --out holds a training, instead of going on with it.")
    ] = False,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(min=0.0, metavar="MINUTES", callback=_finite, help="A killed training loses at most this much."),
    ] = 5.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be learned on, and how.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    videos: Annotated[
        Path | None,
        typer.Option(help="Folder of AIST++'s videos, where they lie apart.", rich_help_panel=DATA, show_default=False),
    ] = None,
    music: Annotated[
        Path | None,
        typer.Option(
            help="Folder of AIST++'s music as .wav, where it lies apart.", rich_help_panel=DATA, show_default=False
        ),
    ] = None,
    camera: Annotated[str, typer.Option(help="AIST++ camera: c01 to c09, or all.", rich_help_panel=DATA)] = "c01",
    keep_ignored: Annotated[
        bool, typer.Option("--keep-ignored", help="Use what AIST++'s ignore_list.txt names.", rich_help_panel=DATA)
    ] = False,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Encoders (.safetensors) to begin from, in place of random ones.",
            rich_help_panel=ENCODERS,
            show_default=False,
        ),
    ] = None,
    clap: Annotated[
        Path | None,
        typer.Option(
            help="For --genre-encoder clap: 'clap' (see 'd2m weights list'), or the folder of a CLAP model.",
            rich_help_panel=ENCODERS,
            show_default=False,
        ),
    ] = None,
    **choices: Any,
) -> None:
    """Learn '*' (rhythm) and '@' (genre) for a frozen text-to-music model, from dances and the music they go to.

    Writes encoders.safetensors for 'd2m generate --encoders'. The same command goes on where it was interrupted.

    Several GPUs: 'accelerate launch -m d2m_cli train ...'.

    The paper whose equations are numbered here: "Dance-to-Music Generation with Encoder-based Textual Inversion".
    """
    from d2m_cli.api import training
    from d2m_cli.backbones.registry import choose
    from d2m_cli.batch.voice import tell
    from d2m_cli.ground.progress import Progress, is_main_process
    from d2m_cli.report.training_table import dances_table, options_table, result_lines, skipped_lines
    from d2m_cli.training.run import grid_of

    options = TrainOptions.preset(preset, **choices)
    # Before the dances are read, which may take minutes.
    model = choose(backbone)
    progress = Progress(quiet=not is_main_process(), tell=tell)
    found = training.read_pairs(
        dances, options=options, videos=videos, music=music, camera=camera, keep_ignored=keep_ignored,
        progress=progress,
    )  # fmt: skip
    seconds = grid_of(options.rhythm_mode).seconds
    summary = found.summary(seconds, options.hop, tail=options.tail)
    progress.show(dances_table(summary, seconds))
    for line in skipped_lines(summary):
        progress.say(line)
    progress.show(options_table(options, preset))
    if dry_run:
        if json_out:
            print(json.dumps({"data": asdict(summary), "options": asdict(options)}, indent=2, default=str))
        return
    trained = training.train(
        found, out, options=options, backbone=model, device=device, decoder=decoder.value, cache=cache,
        start=start, clap=clap, overwrite=overwrite, checkpoint_minutes=checkpoint_minutes, progress=progress,
    )  # fmt: skip
    if not is_main_process():
        return
    for line in result_lines(trained.record):
        print(line, file=sys.stderr)
    print(json.dumps(trained.record.document(), indent=2) if json_out else trained.encoders)
