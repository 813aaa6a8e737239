"""``d2m pose``: videos to pose files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from d2m_cli.commands.generate import DECODER, Decoder


def pose(
    context: typer.Context,
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEOS...", help="Videos, and folders that are searched all the way down.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pose files; mirrors the input.")] = Path(
        "poses"
    ),
    model: Annotated[
        str, typer.Option(help="movenet; hrnet-w32 or hrnet-w48 (see 'd2m weights pull'); or hrnet:PATH.onnx.")
    ] = "movenet",
    detector: Annotated[
        str, typer.Option(help="multipose, or the path of an RTMDet or NanoDet .onnx file.")
    ] = "multipose",
    dancers: Annotated[str, typer.Option(help="largest, all, or the largest number of dancers to follow.")] = "largest",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    decoder: Annotated[Decoder, DECODER] = Decoder.auto,
    flip_test: Annotated[bool, typer.Option("--flip-test", help="HRNet: average with the mirrored picture.")] = False,
    decoding: Annotated[str, typer.Option(help="HRNet: dark or quarter.")] = "dark",
    longest: Annotated[
        int, typer.Option(min=64, help="Decode frames at this many pixels along the longer side.")
    ] = 640,
    camera: Annotated[bool, typer.Option(help="Estimate how the camera moved.")] = True,
    batch: Annotated[int, typer.Option(min=1, help="Frames or people computed at once.")] = 8,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 lets ONNX Runtime choose.")] = 0,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write a preview with the skeletons.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all videos, models and results to see that what is done is true.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the dancers of videos: 17 joints a frame, and how the camera moved."""
    from d2m_cli.batch.pose_files import estimate_files
    from d2m_cli.ground.search import VIDEO_SUFFIXES, search
    from d2m_cli.pose.estimator import PoseOptions

    options = PoseOptions(
        model=model,
        detector=detector,
        dancers=int(dancers) if dancers.isdecimal() and len(dancers) < 10 else dancers,
        device=device,
        decoder=decoder.value,
        flip_test=flip_test,
        decoding=decoding,
        longest=longest,
        camera=camera,
        batch=batch,
        threads=threads,
    )
    inputs = search(videos, VIDEO_SUFFIXES)
    done = estimate_files(
        inputs.found,
        out,
        options,
        overlay=overlay,
        overwrite=overwrite,
        verify=verify,
        dry_run=dry_run,
        json_out=json_out,
        verbose=context.find_root().params.get("verbose", False),
        passed_over=inputs.passed_over,
    )
    raise typer.Exit(done.exit_code)
