"""``d2m pose``: videos to pose files."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.common import (
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
    ShardOption,
    Start,
    StoreOption,
    Verify,
    Videos,
    batch_options,
    dance_cache,
    device_there,
    run_all,
)
from d2m_cli.commands.logged import with_log

if TYPE_CHECKING:
    from d2m_cli.batch.options import BatchOptions
    from d2m_cli.batch.outcome import BatchSummary
    from d2m_cli.ground.inputs import Input


class Decoding(StrEnum):
    """How HRNet's heat maps are read."""

    dark = "dark"
    quarter = "quarter"


@with_log("pose")
def pose(
    context: typer.Context,
    videos: Videos,
    out: Out = Path("poses"),
    model: Annotated[
        str,
        typer.Option(
            help="movenet; auto: the best that is here; hrnet-w48, rtmpose-m, rtmo-s ... (see 'd2m weights list'); or "
            "hrnet:PATH.onnx, rtmpose:PATH.onnx, rtmo:PATH.onnx."
        ),
    ] = "movenet",
    detector: Annotated[
        str, typer.Option(help="multipose, rtmo-s (or -t, -m), or the path of an RTMDet, RTMO or NanoDet .onnx file.")
    ] = "multipose",
    dancers: Dancers = "largest",
    start: Start = 0.0,
    duration: Duration = None,
    device: Device = "auto",
    decoder: DecoderOption = Decoder.auto,
    flip_test: Annotated[bool, typer.Option("--flip-test", help="HRNet: average with the mirrored picture.")] = False,
    decoding: Annotated[
        Decoding, typer.Option(help="HRNet: joints from heat maps by DARK, or a quarter pixel towards the neighbour.")
    ] = Decoding.dark,
    longest: Annotated[
        int, typer.Option(min=64, help="Decode frames at this many pixels along the longer side.")
    ] = 640,
    camera: Annotated[bool, typer.Option(help="Estimate how the camera moved.")] = True,
    batch: Annotated[int, typer.Option(min=0, help="Frames or people in a batch; 0: 8 on a GPU, else 1.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: OMP_NUM_THREADS, else all cores.")] = 0,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write a preview with the skeletons.")] = False,
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
) -> None:
    """Find the dancers of videos: 17 joints a frame, and how the camera moved.

    Of 50 frames a second or more, 25 to 50 a second are taken.
    """
    from d2m_cli.batch.pose_files import estimate_files
    from d2m_cli.ground.inputs import named_inputs
    from d2m_cli.ground.search import VIDEO_SUFFIXES, search
    from d2m_cli.pose.dancers import parse_dancers
    from d2m_cli.pose.options import PoseOptions

    how = batch_options(context)
    options = PoseOptions(
        model=model,
        detector=detector,
        dancers=parse_dancers(dancers),
        device=device_there(device, how),
        decoder=decoder.value,
        flip_test=flip_test,
        decoding=decoding.value,
        longest=longest,
        camera=camera,
        batch=batch,
        threads=threads,
        start=start,
        duration=duration,
    )
    kept = dance_cache(cache, no_cache)

    def run(given: Sequence[Input], folder: Path, batch: BatchOptions) -> BatchSummary:
        return estimate_files(search(given, VIDEO_SUFFIXES), folder, options, overlay=overlay, cache=kept, batch=batch)

    raise typer.Exit(run_all(named_inputs(videos), out, by_folder, how, run))
