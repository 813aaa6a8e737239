"""Paired dances and music from what the user has: AIST++, a folder of videos, or a table.

The values live in `d2m_cli.training.data.clips`, the readers in `aist_folder`, `video_folder` and `table`.
"""

from __future__ import annotations

from pathlib import Path

from d2m_cli.errors import UsageError
from d2m_cli.ground.aist import SPLITS, Split
from d2m_cli.ground.progress import Progress
from d2m_cli.training.data.aist_folder import find_tree, read_tree
from d2m_cli.training.data.clips import (
    SLACK,
    Clip,
    DanceSet,
    Segment,
    Skip,
    SkipCounts,
    SplitCounts,
    Summary,
    window_starts,
)
from d2m_cli.training.data.collate import Drafts, ReadOptions, complete
from d2m_cli.training.data.table import read_manifest
from d2m_cli.training.data.video_folder import read_folder

__all__ = [
    "SLACK",
    "SPLITS",
    "Clip",
    "DanceSet",
    "ReadOptions",
    "Segment",
    "Skip",
    "SkipCounts",
    "Split",
    "SplitCounts",
    "Summary",
    "read_dances",
    "window_starts",
]


def read_dances(source: Path, options: ReadOptions | None = None, progress: Progress | None = None) -> DanceSet:
    """Read a paired set; opens headers only.

    Parameters
    ----------
    source
        A .csv table (`d2m_cli.training.data.table`); a folder of AIST++ (`d2m_cli.training.data.aist_folder`): one with
        ``keypoints2d``, that folder, or one up to two levels above; or any other folder of videos with sound
        (`d2m_cli.training.data.video_folder`).
    options
        See `ReadOptions`.
    progress
        Told after each clip.

    Raises
    ------
    UsageError
        `source` does not exist or can't be read, no clip can be used, or a split that is needed is empty.
    """
    source, options = Path(source), options or ReadOptions()
    return complete(_find(source, options), source, options, progress or Progress(quiet=True))


def _find(source: Path, options: ReadOptions) -> Drafts:
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise UsageError(f"{source} is no .csv table; name a table, or a folder of dances")
        return read_manifest(source, options)
    if not source.is_dir():
        raise UsageError(f"{source}: no such file or folder; check the spelling")
    tree = find_tree(source)
    return read_folder(source) if tree is None else read_tree(tree, options)
