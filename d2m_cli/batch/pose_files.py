"""Poses of many videos, with the manners of the batch room: resume, skip what is done, name what fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from d2m_cli.batch.display import say
from d2m_cli.batch.options import PLAIN, BatchOptions
from d2m_cli.batch.runner import BatchSummary, ItemResult, Job, run_batch
from d2m_cli.ground.background import Background
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.ground.search import Search
from d2m_cli.media.video import probe
from d2m_cli.pose.cache import PoseCache
from d2m_cli.pose.io import SUFFIX, save_poses
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.settings import pose_settings, seen_at_once, unheeded
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

    def load() -> PoseEstimator:
        from d2m_cli.pose.estimator import PoseEstimator

        loaded = PoseEstimator(options)
        say(f"d2m pose: {loaded.description}")
        return loaded

    known = PoseCache(cache, options)

    def work(job: Job, report: Report) -> ItemResult:
        report("reading")
        timeline = probe(job.path, options.passage)
        # Loaded only once there is something to do: a batch that is done already answers at once.
        poses = known.poses(job.path, job.content, lambda: estimator.value().estimate(job.path, report, timeline))
        save_poses(job.artefacts[SUFFIX], poses)
        encoder = None
        if overlay:
            from d2m_cli.pose.overlay import write_overlay

            encoder = write_overlay(job.path, poses, job.artefacts[OVERLAY_SUFFIX], options.decoder, timeline)
        return _result(poses, encoder)

    with Background(load) as estimator:
        return run_batch(
            videos.found,
            work,
            settings=pose_settings(options, verify=batch.verify),
            artefacts=(SUFFIX, OVERLAY_SUFFIX) if overlay else (SUFFIX,),
            out_dir=out,
            options=batch,
            passed_over=videos.passed_over,
            label="pose",
            workers=seen_at_once(options.device),
        )


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
