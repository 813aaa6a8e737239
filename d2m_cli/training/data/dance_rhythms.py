"""Rhythms of the dances, computed once and kept in a cache folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from d2m_cli.errors import InputError
from d2m_cli.ground.digests import code_digest, settings_digest
from d2m_cli.ground.progress import Progress
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.pose.io import load_poses, save_poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.rhythm.io import load_rhythm, save_rhythm
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid
from d2m_cli.training.data.aist_keypoints import load_keypoints
from d2m_cli.training.data.clips import Clip, Skip
from d2m_cli.training.data.sources import content_of

if TYPE_CHECKING:
    from d2m_cli.pose.track import Poses


class Dancers(Protocol):
    """What is needed of `d2m_cli.pose.estimator.PoseEstimator`."""

    @property
    def model_hashes(self) -> dict[str, str]: ...

    def estimate(self, video: Path) -> Poses: ...


@dataclass(frozen=True)
class RhythmCache:
    """Rhythms, and the poses they are read from.

    Attributes
    ----------
    folder
        Of the cache.
    grid
        Rhythm mode and clock of "*".
    dancers
        Gives the pose estimator; called only for videos.
    """

    folder: Path
    grid: RhythmGrid
    dancers: Callable[[], Dancers]

    def all(self, clips: Sequence[Clip], progress: Progress) -> tuple[dict[Clip, Rhythm], tuple[Skip, ...]]:
        """Rhythms of dances, and which can't be read, with the reason."""
        found: dict[Clip, Rhythm] = {}
        skipped = []
        with progress.stage("rhythm of the dances", len(clips)) as advance:
            for clip in clips:
                try:
                    found[clip] = self.rhythm(clip)
                except InputError as error:
                    skipped.append(Skip(clip.dance, str(error)))
                advance(1, clip.name)
        return found, tuple(skipped)

    def rhythm(self, clip: Clip) -> Rhythm:
        """Rhythm of one dance.

        Raises
        ------
        InputError
            Nobody is in the video, the file is damaged, or it is a rhythm file of another mode.
        """
        if clip.dance.name.endswith(RHYTHM_SUFFIX):
            rhythm = load_rhythm(clip.dance)
            if rhythm.mode != self.grid.mode:
                raise InputError(
                    f"{clip.dance}: is a rhythm of mode {rhythm.mode!r}, and {self.grid.mode!r} is wanted; make it "
                    f"again with 'd2m rhythm --mode {self.grid.mode}'"
                )
            try:
                rhythm.check_clock(self.grid)
            except InputError as error:
                raise InputError(f"{clip.dance}: is {error}") from error
            return rhythm
        options = RhythmOptions(mode=self.grid.mode)
        read_by = {"options": asdict(options), "code": code_digest("rhythm")}
        key = settings_digest("rhythm", {"dance": self._dance_key(clip), **read_by})
        path = self.folder / "rhythm" / f"{key}{RHYTHM_SUFFIX}"
        with suppress(InputError):  # Not made yet, or damaged since: it is made again.
            return load_rhythm(path)
        rhythm = extract_rhythm(self._poses(clip), options)
        save_rhythm(path, rhythm, options)
        # Read back, so that a first run and a later one see the same rounded values.
        return load_rhythm(path)

    def _dance_key(self, clip: Clip) -> dict[str, object]:
        key: dict[str, object] = {"content": content_of(clip.dance), "view": clip.view}
        if not _holds_poses(clip.dance):
            key["networks"] = self.dancers().model_hashes
            key["code"] = code_digest("pose", "media")
        return key

    def _poses(self, clip: Clip) -> Poses:
        if clip.dance.name.endswith(POSE_SUFFIX):
            return load_poses(clip.dance)
        if clip.dance.suffix == ".pkl":
            return load_keypoints(clip.dance, clip.view or 0)
        path = self.folder / "poses" / f"{settings_digest('pose', self._dance_key(clip))}{POSE_SUFFIX}"
        with suppress(InputError):  # Not made yet, or damaged since: they are made again.
            return load_poses(path)
        save_poses(path, self.dancers().estimate(clip.dance))
        return load_poses(path)


def _holds_poses(path: Path) -> bool:
    return path.name.endswith(POSE_SUFFIX) or path.suffix == ".pkl"
