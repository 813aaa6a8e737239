"""The verb that reads the rhythm of a dance."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from d2m_cli.api.poses import Estimator, poses_of
from d2m_cli.ground.file_cache import as_cache
from d2m_cli.pose.dancers import to_follow
from d2m_cli.pose.io import load_poses
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.track import Poses
from d2m_cli.rhythm import extract
from d2m_cli.rhythm.extract import RhythmOptions
from d2m_cli.rhythm.sequence import Rhythm

__all__ = ["Rhythm", "RhythmOptions", "extract_rhythm"]


def extract_rhythm(
    video_or_poses: str | PathLike[str] | Poses,
    options: RhythmOptions | None = None,
    *,
    estimator: Estimator | None = None,
    cache: str | PathLike[str] | None = None,
) -> Rhythm:
    """Peaks, envelope and tempo of the dance in one video (Sec. 3.2).

    Parameters
    ----------
    video_or_poses
        A video, a pose file (.npz), or poses that were estimated already.
    options
        Mode and its settings, and the dancers to go by; without them everybody that the poses hold, which for a video
        is its largest dancer.
    estimator
        For videos: loaded networks to be kept for many of them. It follows the dancers that its own options say,
        and `options` choose among those.
    cache
        For videos: folder in which their poses are kept, and looked for first; None estimates them anew.

    Returns
    -------
    Times in seconds; the envelope (n,) from 0 to 1 on an even clock.

    Raises
    ------
    VideoError, PoseFileError
        The file can't be read.
    NoPersonError
        Nobody was found, or not the dancer that was asked for.
    MissingWeightsError, UsageError
        A network is not there.
    """
    options = options or RhythmOptions()
    if isinstance(video_or_poses, Poses):
        return extract.extract_rhythm(video_or_poses, options)
    path = Path(video_or_poses)
    if path.suffix.lower() == ".npz":
        return extract.extract_rhythm(load_poses(path), options)
    poses = poses_of(path, PoseOptions(dancers=to_follow(options.dancers)), estimator, as_cache(cache))
    return extract.extract_rhythm(poses, options)
