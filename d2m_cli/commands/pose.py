"""``d2m pose``: videos to pose files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.common import (
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
    ShardOption,
    Start,
    Verify,
    Videos,
    batch_options,
    dance_cache,
)


class Decoding(StrEnum):
    """How HRNet's heat maps are read."""

    dark = "dark"
    quarter = "quarter"


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
    retry_failed: RetryFailed = False,
    max_failures: MaxFailures = None,
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

    options = PoseOptions(
        model=model,
        detector=detector,
        dancers=parse_dancers(dancers),
        device=device,
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
    done = estimate_files(
        search(named_inputs(videos), VIDEO_SUFFIXES),
        out,
        options,
        overlay=overlay,
        cache=dance_cache(cache, no_cache),
        batch=batch_options(context),
    )
    raise typer.Exit(done.exit_code)
