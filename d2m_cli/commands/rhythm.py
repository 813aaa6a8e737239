"""``d2m rhythm``: peaks, tempo and beats of a dance."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from d2m_cli.commands.generate import DECODER, Decoder

if TYPE_CHECKING:
    from d2m_cli.batch.runner import ItemResult, Job
    from d2m_cli.ground.progress import Report
    from d2m_cli.ground.search import Found
    from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
    from d2m_cli.pose.track import Poses
    from d2m_cli.rhythm.extract import RhythmOptions
    from d2m_cli.rhythm.sequence import Rhythm

_POSES = ".pose.npz"


def rhythm(
    context: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="VIDEOS|POSES...", help="Videos, pose files of 'd2m pose', or folders of them."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("rhythm"),
    mode: Annotated[
        str,
        typer.Option(help="stable (for real footage), paper (Eq. 4-7 as worded) or published (as the authors' code)."),
    ] = "stable",
    sectors: Annotated[int, typer.Option(min=1, help="K of Eq. 5: direction sectors of mode paper.")] = 10,
    window: Annotated[float, typer.Option(help="Seconds of the window of local maxima in mode paper.")] = 0.2,
    dancer: Annotated[str, typer.Option(help="Whom to follow: largest, all, or the number of one.")] = "largest",
    device: Annotated[str, typer.Option(help="Where the pose network runs on videos: auto, cpu or cuda.")] = "auto",
    decoder: Annotated[Decoder, DECODER] = Decoder.auto,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw envelope, peaks and the music's beats beside each result.")
    ] = False,
    json_out: Annotated[bool, typer.Option("--json", help="One JSON document on stdout in place of lines.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all videos, models and results to see that what is done is true.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do what is done again.")] = False,
) -> None:
    """Read the rhythm of dances: one JSON file each with peaks, envelope, tempo and beats.

    Equations are those of "Dance-to-Music Generation with Encoder-based Textual Inversion".
    """
    from dataclasses import asdict

    from d2m_cli.batch.runner import run_batch
    from d2m_cli.ground.search import VIDEO_SUFFIXES, search
    from d2m_cli.pose.estimator import PoseOptions
    from d2m_cli.pose.settings import pose_settings

    options = _options(mode, sectors, window, dancer)
    pose_options = PoseOptions(
        dancers="largest" if dancer == "largest" else "all", device=device, decoder=decoder.value
    )
    found = search(inputs, VIDEO_SUFFIXES | {".npz"}, made_too=frozenset({".npz"}))
    summary = run_batch(
        _only_poses_of_ours(found.found, inputs),
        _Work(options, pose_options, plot),
        settings={"rhythm": asdict(options), "pose": pose_settings(pose_options, verify=verify)},
        artefacts=[".rhythm.json", ".rhythm.png"] if plot else [".rhythm.json"],
        out_dir=out,
        overwrite=overwrite,
        verify=verify,
        dry_run=dry_run,
        json_out=json_out,
        verbose=context.find_root().params.get("verbose", False),
        passed_over=found.passed_over,
        label="rhythm",
    )
    raise typer.Exit(summary.exit_code)


def _options(mode: str, sectors: int, window: float, dancer: str) -> RhythmOptions:
    from d2m_cli.errors import UsageError
    from d2m_cli.rhythm.extract import RhythmOptions

    # Poses number their dancers by prominence, from 0.
    dancer = "0" if dancer == "largest" else dancer
    if dancer != "all" and not (dancer.isdecimal() and len(dancer) < 10):
        raise UsageError(f"--dancer must be largest, all or a number from 0, not {dancer!r}")
    if not math.isfinite(window):
        raise UsageError(f"--window must be a number of seconds above 0, not {window}")
    whom = "all" if dancer == "all" else int(dancer)
    try:
        return RhythmOptions(mode=mode, sectors=sectors, window_seconds=window, dancer=whom)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _only_poses_of_ours(items: Sequence[Found], inputs: list[Path]) -> list[Found]:
    """Leave out .npz files of a folder that are no pose files, and name results after the video."""
    from d2m_cli.errors import UsageError
    from d2m_cli.ground.search import Found

    named = set(inputs)
    kept = [
        item
        for item in items
        if item.path.suffix.lower() != ".npz" or item.path.name.endswith(_POSES) or item.path in named
    ]
    if not kept:
        raise UsageError(f"no video and no {_POSES} file among the inputs: make pose files with 'd2m pose'")
    return [Found(item.path, item.stem.with_suffix("") if item.stem.suffix == ".pose" else item.stem) for item in kept]


class _Work:
    """Makes the results of one file; the pose network is loaded for the first video that needs it."""

    def __init__(self, options: RhythmOptions, pose_options: PoseOptions, plot: bool) -> None:
        self._options, self._pose_options, self._plot = options, pose_options, plot
        self._estimator: PoseEstimator | None = None

    def __call__(self, job: Job, report: Report) -> ItemResult:
        from d2m_cli.batch.runner import ItemResult
        from d2m_cli.rhythm.extract import extract_rhythm
        from d2m_cli.rhythm.io import save_rhythm

        poses = self._poses(job.path, report)
        report("rhythm", 0.9)
        found = extract_rhythm(poses, self._options)
        source = {"file": job.path.name, "content": job.content, "pose_model": poses.tracks[0].model}
        save_rhythm(job.artefacts[".rhythm.json"], found, self._options, source)
        tempo = found.tempo
        beat = "no tempo" if tempo is None else f"{tempo.bpm:.1f} bpm, confidence {tempo.confidence:.2f}"
        details: dict[str, float | None] = {
            "peaks": len(found.peaks),
            "duration": found.duration,
            "bpm": None if tempo is None else tempo.bpm,
            "first_beat": None if tempo is None else tempo.first_beat,
            "confidence": None if tempo is None else tempo.confidence,
            "dancers": len(poses.tracks),
        }
        if self._plot:
            report("plot", 0.95)
            details["music_beats"] = self._draw(job, found)
        return ItemResult(f"{len(found.peaks)} peaks, {beat}", details)

    def _poses(self, path: Path, report: Report) -> Poses:
        if path.suffix.lower() == ".npz":
            from d2m_cli.pose.io import load_poses

            report("reading poses")
            return load_poses(path)
        from d2m_cli.pose.estimator import PoseEstimator

        if self._estimator is None:
            self._estimator = PoseEstimator(self._pose_options)
            print(f"poses: {self._estimator.description}", file=sys.stderr)
        return self._estimator.estimate(path, lambda step, fraction=0.0: report(step, 0.9 * fraction))

    def _draw(self, job: Job, found: Rhythm) -> int | None:
        """Draw, and say how many beats the video's music has; None where it has none."""
        from d2m_cli.report.beats_plot import TRACKED, plot_rhythm, tracked_beats

        beats = None if job.path.suffix.lower() == ".npz" else tracked_beats(job.path)
        plot_rhythm(
            found, job.artefacts[".rhythm.png"], title=job.path.name, music=None if beats is None else {TRACKED: beats}
        )
        return None if beats is None else len(beats)
