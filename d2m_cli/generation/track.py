"""A track of one's own in place of music from a backbone: its passage that need be bent least, under the dance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError, UsageError
from d2m_cli.generation.alignment import ROUNDING
from d2m_cli.generation.bend import attacks
from d2m_cli.generation.compose import finished, snap_bounds
from d2m_cli.generation.music import Music
from d2m_cli.generation.music_beats import Onsets
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.snap import Snap, land
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.rhythm.sequence import Rhythm

Samples = NDArray[np.float32]


@dataclass(frozen=True, repr=False, eq=False)
class Track:
    """A track, decoded, and what is heard in it: for any number of dances.

    Attributes
    ----------
    path
        Its file.
    digest
        `content_digest` of it.
    samples
        (channels, n) float32, one or two channels.
    rate
        Hz.
    """

    path: Path
    digest: str
    samples: Samples
    rate: int

    def __repr__(self) -> str:
        return f"Track({self.path.name}, seconds={self.seconds:.2f})"

    @classmethod
    def load(cls, path: Path, digest: str) -> Track:
        """Read a file of sound; of more than two channels the mean is taken.

        Raises
        ------
        UsageError
            It can't be read, or holds no sound.
        """
        from d2m_cli.media.audio import load_audio

        try:
            samples, rate = load_audio(path)
        except AudioError as error:
            raise UsageError(f"{option('music')} {error}") from error
        return cls(path, digest, samples.mean(axis=0, keepdims=True) if len(samples) > 2 else samples, rate)

    @property
    def seconds(self) -> float:
        """Its length."""
        return float(self.samples.shape[1]) / self.rate

    @cached_property
    def onsets(self) -> Onsets:
        """What its beats are found from."""
        return Onsets.of(self.samples, self.rate)

    @cached_property
    def attacks(self) -> NDArray[np.float64]:
        """What is not stretched; see `d2m_cli.generation.bend.attacks`."""
        return attacks(self.samples, self.rate)

    def check_start(self, start: float | None) -> None:
        """Raise UsageError where there is nothing behind the moment to begin at."""
        if start is not None and start >= self.seconds:
            raise UsageError(
                f"{self.path} lasts {self.seconds:.2f} s, so there is no music behind {start:g} s: give an earlier "
                f"{option('music_start')}"
            )

    def check_length(self, duration: float, start: float | None) -> None:
        """Raise AudioError where the track ends before a video of a duration in seconds would."""
        rest = self.seconds - (start or 0.0)
        if duration - rest > ROUNDING:
            behind = f" behind {start:g} s" if start else ""
            earlier = f"an earlier {option('music_start')} or " if start else ""
            raise AudioError(
                f"{self.path}: {rest:.2f} s of music{behind}, and the video lasts {duration:.2f} s: give {earlier}a "
                "longer track"
            )


def lay_track(
    track: Track,
    rhythm: Rhythm,
    duration: float,
    options: GenerateOptions,
    report: Report,
    holds: Sequence[tuple[float, float]] = (),
) -> Music:
    """A passage of a track as music for a dance.

    Parameters
    ----------
    track
        As long as the video at least, but for rounding; see `Track.check_length`.
    rhythm
        Of the whole video.
    duration
        Length of the video in seconds.
    options
        `snap`, `music_start`, and how a piece ends.
    report
        Told where the work is.
    holds
        As in `d2m_cli.generation.compose.compose`.

    Raises
    ------
    AudioError
        The track ends before the video would.
    """
    start = options.music_start
    track.check_length(duration, start)
    report("laying the track under the dance", 0.2)
    samples, rate = track.samples, track.rate
    bounds = snap_bounds(rhythm.beats, options)
    done: Snap | None = None
    if bounds is not None:
        samples, done = land(samples, rate, rhythm.beats, duration, bounds, start, track.onsets, track.attacks)
    else:
        length = round(duration * rate)
        samples = samples[:, round((start or 0.0) * rate) :][:, :length]
        if samples.shape[1] < length:
            samples = np.pad(samples, ((0, 0), (0, length - samples.shape[1])))
    # The track is there for other dances too, and what is finished is lost.
    samples = samples.copy() if np.may_share_memory(samples, track.samples) else np.ascontiguousarray(samples)
    return finished(samples, rate, rhythm, duration, options, holds, done)
