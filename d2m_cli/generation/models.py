"""The networks that make a piece of music, and how a result names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from d2m_cli.media.passage import WHOLE, Passage

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from d2m_cli.backbones.base import Backbone
    from d2m_cli.generation.desk import Desk
    from d2m_cli.generation.genre import SoundExample
    from d2m_cli.generation.track import Track
    from d2m_cli.ground.progress import Report
    from d2m_cli.media.timeline import Timeline
    from d2m_cli.pose.track import Poses, PoseSource
    from d2m_cli.rhythm.cache import DanceCache
    from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid


class RhythmEncoders(Protocol):
    """What generation needs of `d2m_cli.inversion.checkpoint.Encoders`."""

    @property
    def grid(self) -> RhythmGrid: ...

    @property
    def genre_kind(self) -> str | None: ...

    @property
    def note(self) -> str: ...

    def pseudo_words(self, sequences: Tensor, genres: str | Sequence[str] | Tensor | None) -> dict[str, Tensor]: ...


class DancerEstimator(Protocol):
    """What generation needs of `d2m_cli.pose.estimator.PoseEstimator`."""

    @property
    def model_hashes(self) -> dict[str, str]: ...

    @property
    def description(self) -> str: ...

    def estimate(self, video: Path, report: Report | None = None, timeline: Timeline | None = None) -> Poses: ...


class Listener(Protocol):
    """What generation needs of `d2m_cli.inversion.clap.ClapAudio`."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def unable_to_read(self) -> str: ...

    def embed(self, samples: NDArray[np.float32], rate: int) -> Tensor: ...

    def read(self, text: str) -> Tensor: ...


@dataclass(frozen=True)
class ModelsUsed:
    """Which networks made a piece of music.

    Attributes
    ----------
    backbone, backbone_sha256, licence
        Name, fingerprint and licence of the backbone; of a track in its place, file name and digest of its content.
    encoders_sha256
        Hash of the encoders' file; None where there were no encoders.
    clap_sha256
        Hash of the CLAP model that heard the sound example and the takes; None without one.
    poses
        Name of each pose network to the hash of its file.
    description
        One line that says what ran where.
    """

    backbone: str
    backbone_sha256: str
    licence: str
    encoders_sha256: str | None
    clap_sha256: str | None
    poses: Mapping[str, str]
    description: str


@dataclass(frozen=True)
class Seeing:
    """What sees a dance.

    Attributes
    ----------
    poses
        Finds the dancers.
    known
        Poses and rhythms of before; None knows of none.
    """

    poses: DancerEstimator
    known: DanceCache | None = field(default=None, kw_only=True)

    def dancers(
        self, video: Path, content: str, report: Report, timeline: Timeline, passage: Passage = WHOLE
    ) -> Poses:
        """Poses of one video, as the estimator gives them, or gave them before.

        Parameters
        ----------
        video
            The file.
        content
            `content_digest` of it.
        report
            Told where the work is.
        timeline
            Of the passage.
        passage
            The part of the video that is looked at.

        Raises
        ------
        InputError
            As `DancerEstimator.estimate` does.
        """

        def estimate() -> Poses:
            return self.poses.estimate(video, report, timeline)

        return estimate() if self.known is None else self.known.poses(video, content, estimate, passage)

    def pose_hashes(self, source: PoseSource | None) -> dict[str, str]:
        """Name of each network that found some poses to the hash of its file; of poses without a source, the loaded."""
        return dict(source.hashes if source is not None else self.poses.model_hashes)

    def pose_description(self, source: PoseSource | None) -> str:
        """Which networks found some poses, and where they ran; of poses without a source, the loaded."""
        return source.description if source is not None else self.poses.description

    def rhythm(self, poses: Poses, content: str, mode: str, passage: Passage = WHOLE) -> Rhythm:
        """Rhythm of the video that `dancers` gave the poses of, read now or before.

        Parameters
        ----------
        poses
            Of the video.
        content
            `content_digest` of it.
        mode
            As in `RhythmOptions`.
        passage
            The part of the video that the poses are of.
        """
        from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm

        options = RhythmOptions(mode=mode)

        def extract() -> Rhythm:
            return extract_rhythm(poses, options)

        return extract() if self.known is None else self.known.rhythm(content, options, extract, passage)


@dataclass(frozen=True)
class Models(Seeing):
    """All networks of one run, loaded.

    Attributes
    ----------
    poses, known
        As in `Seeing`.
    backbone
        Makes the music.
    encoders
        Of "*" and "@", or None: tempo and genre are then put in plain words.
    encoders_sha256
        Hash of the encoders' file, "" without one.
    sound
        The sound example that "@" stands for, or None.
    listener
        The CLAP model that heard it, by which takes are held beside the example and the prompt; or None.
    desk
        Where the backbone draws, for all who draw from it at once; None is one for each piece.
    """

    backbone: Backbone
    encoders: RhythmEncoders | None
    encoders_sha256: str = ""
    sound: SoundExample | None = None
    listener: Listener | None = None
    desk: Desk | None = None

    @property
    def description(self) -> str:
        """One line that says what runs where."""
        return self._told(self.poses.description)

    def _told(self, poses: str) -> str:
        note = f"; {self.encoders.note}" if self.encoders is not None and self.encoders.note else ""
        return f"music: {self.backbone.description}; poses: {poses}{note}"

    def used(self, source: PoseSource | None) -> ModelsUsed:
        """The same by names and hashes, for a dance whose poses come from a source."""
        heard_by = self.listener.fingerprint if self.listener is not None else None
        return ModelsUsed(
            self.backbone.name,
            self.backbone.fingerprint,
            self.backbone.licence,
            self.encoders_sha256 if self.encoders is not None else None,
            self.sound.clap_sha256 if self.sound is not None else heard_by,
            self.pose_hashes(source),
            self._told(self.pose_description(source)),
        )


@dataclass(frozen=True)
class TrackModels(Seeing):
    """What a track in place of a backbone needs: no backbone and no encoders.

    Attributes
    ----------
    poses, known
        As in `Seeing`.
    track
        The track.
    """

    track: Track

    @property
    def description(self) -> str:
        """One line that says what runs where."""
        return self._told(self.poses.description)

    def _told(self, poses: str) -> str:
        return f"music: {self.track.path.name}; poses: {poses}"

    def used(self, source: PoseSource | None) -> ModelsUsed:
        """The same by names and hashes, for a dance whose poses come from a source."""
        name, licence, poses = f"track:{self.track.path.name}", "that of the track", self.pose_hashes(source)
        description = self._told(self.pose_description(source))
        return ModelsUsed(name, self.track.digest, licence, None, None, poses, description)
