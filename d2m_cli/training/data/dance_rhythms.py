"""Rhythms of the dances, computed once and kept in a cache folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from d2m_cli.errors import InputError
from d2m_cli.ground.cores import cores
from d2m_cli.ground.digests import code_digest, settings_digest
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.workers import LostError, Workers
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


WORTH_A_PROCESS = 16
"""Dances for which one more process is started. To start takes as long as eight of 12 s: it imports much of SciPy."""


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
        """Rhythms of dances, and which can't be read, with the reason.

        Poses of videos are found one video after the other, each by all cores; rhythms are read off them meanwhile.
        """
        made: dict[Clip, Rhythm | InputError] = {}
        missing: dict[Clip, Path] = {}
        with progress.stage("rhythm of the dances", len(clips)) as advance:
            for clip in clips:
                kept: Rhythm | Path | InputError
                try:
                    kept = self._kept(clip)
                except InputError as error:
                    kept = error
                if isinstance(kept, Path):
                    missing[clip] = kept
                else:
                    made[clip] = kept
                    advance(1, clip.name)
            with closing(self._read(missing)) as reading:
                for clip, result in reading:
                    made[clip] = result
                    advance(1, clip.name)
        found, skipped = {}, []
        for clip in clips:
            result = made[clip]
            if isinstance(result, Rhythm):
                found[clip] = result
            else:
                skipped.append(Skip(clip.dance, str(result)))
        return found, tuple(skipped)

    def rhythm(self, clip: Clip) -> Rhythm:
        """Rhythm of one dance.

        Raises
        ------
        InputError
            Nobody is in the video, the file is damaged, or it is a rhythm file of another mode.
        """
        kept = self._kept(clip)
        return _read_off(self._reading(clip, kept)) if isinstance(kept, Path) else kept

    def _kept(self, clip: Clip) -> Rhythm | Path:
        """The rhythm of a dance, where it is in its own file or in the cache; else where the cache will have it."""
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
        read_by = {"options": asdict(RhythmOptions(mode=self.grid.mode)), "code": code_digest("rhythm")}
        key = settings_digest("rhythm", {"dance": self._dance_key(clip), **read_by})
        path = self.folder / "rhythm" / f"{key}{RHYTHM_SUFFIX}"
        with suppress(InputError):  # Not made yet, or damaged since: it is made again.
            return load_rhythm(path)
        return path

    def _read(self, missing: Mapping[Clip, Path]) -> Generator[tuple[Clip, Rhythm | InputError], None, None]:
        """Rhythms that the cache has not, by as many processes as there are cores and as it pays to start."""
        first: dict[Path, Clip] = {}
        for clip, path in missing.items():
            first.setdefault(path, clip)
        failed: list[tuple[Clip, InputError]] = []
        asked: deque[Clip] = deque()

        def readings() -> Iterator[_Reading]:
            for clip, path in missing.items():
                if first[path] is not clip:
                    continue
                try:
                    reading = self._reading(clip, path)
                except InputError as error:
                    failed.append((clip, error))
                else:
                    asked.append(clip)
                    yield reading

        # Poses of videos take much longer, and all cores: two keep up with them.
        most = cores() if all(_holds_poses(clip.dance) for clip in missing) else min(cores(), 2)
        with Workers(max(1, min(most, len(first) // WORTH_A_PROCESS))) as workers:
            for result in workers.each(_read_off, readings()):
                clip = asked.popleft()
                # What ends one process of several, most likely want of memory, must not cost the dance.
                yield clip, self._read_here(clip) if isinstance(result, LostError) else result
                yield from _emptied(failed)
        yield from _emptied(failed)
        for clip, path in missing.items():
            if first[path] is not clip:
                # The same dance to other music: it is in the cache by now, or its own name belongs to the error.
                yield clip, self._read_here(clip)

    def _read_here(self, clip: Clip) -> Rhythm | InputError:
        try:
            return self.rhythm(clip)
        except InputError as error:
            return error

    def _dance_key(self, clip: Clip) -> dict[str, object]:
        key: dict[str, object] = {"content": content_of(clip.dance), "view": clip.view}
        if not _holds_poses(clip.dance):
            key["networks"] = self.dancers().model_hashes
            key["code"] = code_digest("pose", "media")
        return key

    def _reading(self, clip: Clip, path: Path) -> _Reading:
        return _Reading(self._pose_file(clip), clip.view or 0, RhythmOptions(mode=self.grid.mode), path)

    def _pose_file(self, clip: Clip) -> Path:
        if _holds_poses(clip.dance):
            return clip.dance
        path = self.folder / "poses" / f"{settings_digest('pose', self._dance_key(clip))}{POSE_SUFFIX}"
        try:
            load_poses(path)
        except InputError:  # Not made yet, or damaged since: they are made again.
            save_poses(path, self.dancers().estimate(clip.dance))
        return path


class _Reading(NamedTuple):
    """Poses (which of several views, in a .pkl), how their rhythm is read, and where it is kept."""

    poses: Path
    view: int
    options: RhythmOptions
    path: Path


def _read_off(reading: _Reading) -> Rhythm:
    poses = load_keypoints(reading.poses, reading.view) if reading.poses.suffix == ".pkl" else load_poses(reading.poses)
    save_rhythm(reading.path, extract_rhythm(poses, reading.options), reading.options)
    # Read back, so that a first run and a later one see the same rounded values.
    return load_rhythm(reading.path)


def _emptied(told: list[tuple[Clip, InputError]]) -> Iterator[tuple[Clip, InputError]]:
    while told:
        yield told.pop(0)


def _holds_poses(path: Path) -> bool:
    return path.name.endswith(POSE_SUFFIX) or path.suffix == ".pkl"
