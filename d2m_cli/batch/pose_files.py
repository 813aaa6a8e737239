"""Poses of many videos, with the manners of the batch room: resume, skip what is done, name what fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2m_cli.batch.engines.engine import on_engine
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, Work, run_batch
from d2m_cli.batch.voice import loading, say, size_of
from d2m_cli.ground.background import Background
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import Search
from d2m_cli.media.video import probe
from d2m_cli.pose.cache import PoseCache
from d2m_cli.pose.io import SUFFIX, save_poses
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.session import check_device
from d2m_cli.pose.settings import network_files, pose_settings, seen_at_once, takes_gpu, unheeded
from d2m_cli.pose.track import Poses
from d2m_cli.pose.weights import resolved

if TYPE_CHECKING:
    from d2m_cli.pose.estimator import PoseEstimator

OVERLAY_SUFFIX = ".pose.mp4"


def estimate_files(
    videos: Search,
    out: Path,
    options: PoseOptions,
    *,
    overlay: bool = False,
    cache: FileCache | None = None,
    batch: BatchOptions = PLAIN,
) -> BatchSummary:
    """Write a pose file for each video, and a preview where `overlay` asks for one; see `run_batch` for the rest.

    Parameters
    ----------
    videos
        What the search for them found and passed over.
    out
        Folder of the results.
    options
        Networks, and which dancers to follow.
    overlay
        Whether to write previews.
    cache
        Where poses are kept and looked for; None estimates all of them.
    batch
        How to go through them.

    Raises
    ------
    UsageError
        The options do not fit, or a network is not there.
    """
    for name in unheeded(options):
        given = getattr(options, name)
        say(f"d2m pose: {option(name, given)} has no effect with {option('model', resolved(options.model))}")

    settings = pose_settings(options, verify=batch.verify)

    def run(work: Work, workers: int) -> BatchSummary:
        return run_batch(
            videos.found,
            work,
            settings=settings,
            artefacts=(SUFFIX, OVERLAY_SUFFIX) if overlay else (SUFFIX,),
            out_dir=out,
            options=batch,
            passed_over=videos.passed_over,
            label="pose",
            stages=("look", "write"),
            workers=workers,
        )

    return on_engine(
        partial(_making, options, overlay, cache),
        run,
        batch,
        workers=seen_at_once(options.device),
        on_gpu=takes_gpu(options.device),
        settings=settings,
        settings_there=partial(pose_settings, options),
    )


@contextmanager
def _making(options: PoseOptions, overlay: bool, cache: FileCache | None) -> Iterator[Work]:
    """The work on one video, in whichever process it is done."""

    def load() -> PoseEstimator:
        from d2m_cli.pose.estimator import PoseEstimator

        with loading_poses(options):
            loaded = PoseEstimator(options, tell=lambda text: say(f"d2m pose: {text}"))
        say(f"d2m pose: {loaded.description}")
        return loaded

    known = PoseCache(cache, options)

    def work(job: Job, report: StageReport) -> ItemResult:
        report("reading")
        timeline = probe(job.path, options.passage)
        report.length(timeline.duration)

        def estimate() -> Poses:
            # Loaded only once there is something to do: a batch that is done already answers at once.
            report.wait("waiting for the networks")
            return estimator.value().estimate(job.path, report, timeline)

        poses = known.poses(job.path, job.content, estimate)
        report.stage("write", "writing")
        save_poses(job.artefacts[SUFFIX], poses)
        encoder = None
        if overlay:
            from d2m_cli.pose.overlay import write_overlay

            encoder = write_overlay(job.path, poses, job.artefacts[OVERLAY_SUFFIX], options.decoder, timeline)
        return _result(poses, encoder)

    with Background(load) as estimator:
        yield work


def loading_poses(options: PoseOptions) -> AbstractContextManager[None]:
    """Say which pose networks are being loaded, and from where, while they are.

    Raises
    ------
    MissingWeightsError
        A network is not there.
    UsageError
        A GPU is asked for and none is here.
    """
    check_device(options.device)
    files = network_files(options)
    names = " and ".join(dict.fromkeys(path.name.split(".onnx")[0] for path in files))
    return loading(f"the pose networks {names}", sum(map(size_of, files)), files[0].parent)


def _result(poses: Poses, encoder: str | None) -> ItemResult:
    source = poses.source
    assert source is not None
    seen = [float(np.mean(track.keypoints[..., 2].max(axis=1) > 0)) for track in poses.tracks]
    camera = "unknown" if poses.camera is None else "moves" if _moves(poses) else "still"
    count = len(poses.tracks)
    who = "1 dancer" if count == 1 else f"{count} dancers"
    summary = f"{who}, {len(poses.tracks[0].times)} frames, camera {camera}, {source.decoder}"
    details = {
        "dancers": count,
        "frames": len(poses.tracks[0].times),
        "duration": poses.duration,
        "seen": [round(share, 4) for share in seen],
        "camera": camera,
        "decoder": source.decoder,
        "provider": source.provider,
        "networks": dict(source.hashes),
        "encoder": encoder,
    }
    return ItemResult(summary, details)


def _moves(poses: Poses) -> bool:
    return poses.camera is not None and bool(np.any(poses.camera.transforms != np.eye(2, 3)))
