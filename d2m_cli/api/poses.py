"""The verb that finds dancers."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.file_cache import FileCache, as_cache
from d2m_cli.media.container import check_file
from d2m_cli.pose.cache import PoseCache
from d2m_cli.pose.estimator import PoseEstimator as Estimator
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.track import Poses, PoseTrack

__all__ = ["Estimator", "PoseOptions", "PoseTrack", "Poses", "estimate_poses"]


def estimate_poses(
    video: str | PathLike[str],
    options: PoseOptions | None = None,
    *,
    estimator: Estimator | None = None,
    cache: str | PathLike[str] | None = None,
) -> Poses:
    """Find the dancers of one video.

    Parameters
    ----------
    video
        The file.
    options
        Networks, and which dancers to follow; without them the largest dancer is followed with the embedded networks.
    estimator
        Loaded networks with options of their own, to be kept for many videos.
    cache
        Folder in which the poses are kept, and looked for first: the video's content and all options tell whether they
        are there. None estimates them anew.

    Returns
    -------
    A track of each dancer, most prominent first, with joints (T, 17, 3) in pixels of the displayed frame, and the
    camera's motion.

    Raises
    ------
    VideoError
        The file can't be decoded to its end.
    NoPersonError
        Nobody was found in it.
    MissingWeightsError, UsageError
        A network is not there, or CUDA was asked for and is not to be had; or both options and an estimator are given.
    """
    if options is not None and estimator is not None:
        raise UsageError("an estimator has options of its own: give either options or an estimator")
    return poses_of(Path(video), options or PoseOptions(), estimator, as_cache(cache))


def poses_of(video: Path, options: PoseOptions, estimator: Estimator | None, cache: FileCache | None) -> Poses:
    """Poses of one video, from the cache where they are there; networks are loaded only where they are not."""

    def estimate() -> Poses:
        return (estimator or Estimator(options)).estimate(video)

    if cache is None:
        return estimate()
    check_file(video)
    known = PoseCache(cache, estimator.options if estimator is not None else options)
    return known.poses(video, content_digest(video), estimate)
