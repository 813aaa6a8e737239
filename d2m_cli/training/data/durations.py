"""How long dances are."""

from __future__ import annotations

from pathlib import Path

from d2m_cli.errors import InputError
from d2m_cli.media.timeline import LONGEST
from d2m_cli.media.video import probe
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.pose.io import load_poses
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.rhythm.io import load_rhythm
from d2m_cli.training.data.aist_keypoints import probe_keypoints

KEYPOINTS_SUFFIX = ".pkl"


def dance_seconds(path: Path, view: int | None = None) -> float:
    """Length of a dance in seconds: video, ``.pose.npz``, ``.rhythm.json`` or AIST++ keypoints.

    Parameters
    ----------
    path
        The file; anything of an unknown suffix is taken for a video.
    view
        Camera row that must be there, for AIST++ keypoints.

    Raises
    ------
    InputError
        The file is missing, is not what its name says, or tells a length that can't be true.
    """
    seconds = _told_seconds(path, view)
    if not 0.0 <= seconds <= LONGEST:
        raise InputError(f"{path}: says that it lasts {seconds:g} s; a dance lasts 24 hours at most")
    return seconds


def _told_seconds(path: Path, view: int | None) -> float:
    if path.name.endswith(POSE_SUFFIX):
        return load_poses(path).duration
    if path.name.endswith(RHYTHM_SUFFIX):
        return load_rhythm(path).duration
    if path.suffix == KEYPOINTS_SUFFIX:
        return probe_keypoints(path, view or 0).seconds
    return probe(path).duration
