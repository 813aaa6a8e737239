"""``d2m rhythm``: peaks, tempo and beats of a dance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.common import (
    INPUTS_HELP,
    ByFolder,
    Cache,
    Dancers,
    Decoder,
    DecoderOption,
    Device,
    DryRun,
    Duration,
    Engine,
    EngineOption,
    JsonOut,
    MaxFailures,
    NoCache,
    Out,
    Overwrite,
    RayAddress,
    RetryFailed,
    RhythmMode,
    ShardOption,
    Start,
    StoreOption,
    Verify,
    batch_options,
    dance_cache,
    device_there,
    run_all,
)
from d2m_cli.commands.logged import with_log
from d2m_cli.errors import UsageError

if TYPE_CHECKING:
    from d2m_cli.batch.options import BatchOptions
    from d2m_cli.batch.outcome import BatchSummary
    from d2m_cli.ground.inputs import Input


def _renamed(value: str | None) -> None:
    if value is not None:
        new = f"only:{value}" if value.isdecimal() else value
        raise UsageError(f"--dancer is --dancers now: say --dancers {new[:40]}")


@with_log("rhythm")
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
    by_folder: ByFolder = False,
    retry_failed: RetryFailed = False,
    max_failures: MaxFailures = None,
    engine: EngineOption = Engine.local,
    ray_address: RayAddress = None,
    store: StoreOption = None,
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
    how = batch_options(context)
    device, kept = device_there(device, how), dance_cache(cache, no_cache)

    def run(given: Sequence[Input], folder: Path, batch: BatchOptions) -> BatchSummary:
        return extract_files(
            find_dances(given),
            folder,
            options,
            device=device,
            decoder=decoder.value,
            passage=Passage(start, duration),
            plot=plot,
            cache=kept,
            batch=batch,
        )

    raise typer.Exit(run_all(named_inputs(inputs), out, by_folder, how, run))
