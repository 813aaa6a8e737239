"""Poses that were estimated before, by the content of the video and all that they hang on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from d2m_cli import __version__
from d2m_cli.errors import PoseFileError
from d2m_cli.ground.digests import code_digest, content_digest, settings_digest
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.media.passage import WHOLE, Passage
from d2m_cli.pose.io import SUFFIX, load_poses, save_poses
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.settings import pose_settings
from d2m_cli.pose.track import Poses

FORMAT = 1
"""Of what is kept: to be raised when a file of the cache is to be read otherwise."""


class PoseCache:
    """Poses of any number of videos, estimated with the same options.

    What comes out of the cache is what was put in, to the last bit.

    Parameters
    ----------
    files
        Where they are kept; None keeps nothing and knows nothing.
    options
        What they are estimated with.

    Attributes
    ----------
    files
        As given.
    """

    def __init__(self, files: FileCache | None, options: PoseOptions) -> None:
        self.files = files
        self._options = options

    @cached_property
    def _settings(self) -> dict[str, Any]:
        made_by = {"d2m": __version__, "format": FORMAT, "code": code_digest("pose", "media")}
        return {**pose_settings(self._options), **made_by}

    def key(self, content: str, passage: Passage = WHOLE) -> str:
        """Name of the poses of one video.

        Parameters
        ----------
        content
            `content_digest` of the video.
        passage
            The part that is looked at, where the options do not say it.

        Raises
        ------
        MissingWeightsError
            A network is not there.
        """
        return settings_digest("pose", {**self._settings, **passage.settings, "content": content})

    def has_poses(self, content: str, passage: Passage = WHOLE) -> bool:
        """Whether the poses of a video are kept."""
        return self.files is not None and self.files.find(self.key(content, passage), SUFFIX) is not None

    def poses(self, video: Path, content: str, estimate: Callable[[], Poses], passage: Passage = WHOLE) -> Poses:
        """Poses of one video: those that are kept, else those that `estimate` gives, which are kept from now on.

        Parameters
        ----------
        video
            The file.
        content
            `content_digest` of it.
        estimate
            Estimates its poses.
        passage
            As in `key`.
        """
        if self.files is None:
            return estimate()
        key = self.key(content, passage)
        known = self.files.read(key, SUFFIX, load_poses)
        if known is not None:
            return known
        poses = estimate()
        with suppress(PoseFileError, OSError):  # more than a pose file may hold, or the video is gone
            if content_digest(video) == content:  # somebody may have changed it meanwhile
                self.files.keep(key, SUFFIX, partial(save_poses, poses=poses))
        return poses
