"""``d2m rhythm``: peaks, tempo and beats of a dance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.common import (
    INPUTS_HELP,
    Cache,
    Dancers,
    Decoder,
    DecoderOption,
    Device,
    DryRun,
    Duration,
    JsonOut,
    MaxFailures,
    NoCache,
    Out,
    Overwrite,
    RetryFailed,
    RhythmMode,
    ShardOption,
    Start,
    Verify,
    batch_options,
    dance_cache,
)
from d2m_cli.errors import UsageError


def _renamed(value: str | None) -> None:
    if value is not None:
        new = f"only:{value}" if value.isdecimal() else value
        raise UsageError(f"--dancer is --dancers now: say --dancers {new[:40]}")


def rhythm(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEOS|POSES...",
            help=f"Videos, pose files of 'd2m pose', {INPUTS_HELP}",
            show_default=False,
        ),
    ],
    out: Out = Path("rhythm"),
    mode: Annotated[
        RhythmMode,
        typer.Option(
            help="beats (learned beats), stable (accents alone), paper (Eq. 4-7) or published (the authors' code)."
        ),
    ] = RhythmMode.beats,
    sectors: Annotated[int, typer.Option(min=1, help="K of Eq. 5: direction sectors of mode paper.")] = 10,
    window: Annotated[float, typer.Option(help="Seconds of the window of local maxima in mode paper.")] = 0.2,
    dancers: Dancers = "largest",
    start: Start = 0.0,
    duration: Duration = None,
    device: Device = "auto",
    decoder: DecoderOption = Decoder.auto,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw envelope, peaks and the music's beats beside each result.")
    ] = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    overwrite: Overwrite = False,
    verify: Verify = False,
    dry_run: DryRun = False,
    shard: ShardOption = None,
    retry_failed: RetryFailed = False,
    max_failures: MaxFailures = None,
    json_out: JsonOut = False,
    _dancer: Annotated[str | None, typer.Option("--dancer", hidden=True, callback=_renamed)] = None,
) -> None:
    """Read the rhythm of dances: one JSON file each with peaks, envelope, tempo and beats.

    Equations are those of "Dance-to-Music Generation with Encoder-based Textual Inversion".
    """
    from d2m_cli.batch.rhythm_files import extract_files, find_dances
    from d2m_cli.ground.inputs import named_inputs
    from d2m_cli.media.passage import Passage
    from d2m_cli.pose.dancers import parse_dancers
    from d2m_cli.rhythm.extract import RhythmOptions

    options = RhythmOptions(mode=mode.value, sectors=sectors, window=window, dancers=parse_dancers(dancers))
    done = extract_files(
        find_dances(named_inputs(inputs)),
        out,
        options,
        device=device,
        decoder=decoder.value,
        passage=Passage(start, duration),
        plot=plot,
        cache=dance_cache(cache, no_cache),
        batch=batch_options(context),
    )
    raise typer.Exit(done.exit_code)
