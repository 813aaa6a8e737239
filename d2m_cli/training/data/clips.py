"""Values of the data side of training: clips, their windows, what was left out, and the set they make."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from d2m_cli.ground.aist import SPLITS, Split

TOLD = 10
"""Files or lines left out for one cause that are told one by one; the record of a training names all."""

SLACK = 0.05
"""Seconds by which a window may run past the end of a clip: clips of 5.12 s hold 305 frames at 60 fps, 5.083 s."""


@dataclass(frozen=True)
class Clip:
    """One dance with the music it was danced to.

    Attributes
    ----------
    name
        Unique in the set, such as "gLO_sBM_c01_d13_mLO2_ch02"; may hold "/", as a relative path does.
    dance
        Video, ``.pose.npz`` (``d2m pose``), ``.rhythm.json`` (``d2m rhythm``), or AIST++ keypoints ``.pkl``.
    view
        Camera row in an AIST++ ``.pkl``; None for everything else.
    audio
        Sound file, or a video with sound.
    audio_start
        Seconds in `audio` at which the dance's time 0 lies.
    song
        Name of the song; what splits and bootstrap intervals go by.
    genre
        Two-letter code, or None where it is not known.
    split
        "train", "validation" or "test".
    seconds
        How long both dance and music are there, from the dance's time 0.
    """

    name: str
    dance: Path
    view: int | None
    audio: Path
    audio_start: float
    song: str
    genre: str | None
    split: Split
    seconds: float


@dataclass(frozen=True)
class Segment:
    """One window of a clip.

    Attributes
    ----------
    clip
        The clip.
    start
        Seconds of the dance; the music's window begins at ``clip.audio_start + start``.
    """

    clip: Clip
    start: float


@dataclass(frozen=True)
class Skip:
    """Something that is not used.

    Attributes
    ----------
    path
        The file.
    reason
        Why, naming the file.
    cause
        Why, without names, so that like cases can be counted; empty where it is `reason` less the file's name.
    """

    path: Path
    reason: str
    cause: str = ""


@dataclass(frozen=True)
class SplitCounts:
    """What one split holds.

    Attributes
    ----------
    split
        Its name.
    songs, clips, segments
        How many.
    seconds
        Of all clips together.
    genres
        (two-letter code or "unknown", clips) for each genre that occurs, sorted.
    """

    split: Split
    songs: int
    clips: int
    segments: int
    seconds: float
    genres: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SkipCounts:
    """Files left out for one cause.

    Attributes
    ----------
    cause
        Why.
    count
        How many.
    example
        The first of them.
    reasons
        Why, naming file and line, of the first `TOLD` of them.
    """

    cause: str
    count: int
    example: Path
    reasons: tuple[str, ...]

    @property
    def untold(self) -> int:
        """How many `reasons` leaves out."""
        return self.count - len(self.reasons)


@dataclass(frozen=True)
class Summary:
    """A set in numbers, to be shown as a table.

    Attributes
    ----------
    kind
        See `DanceSet`.
    splits
        "train", "validation", "test", also where empty.
    skipped
        By cause, the most frequent first.
    notes
        See `DanceSet`.
    """

    kind: str
    splits: tuple[SplitCounts, ...]
    skipped: tuple[SkipCounts, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class DanceSet:
    """Paired dances and music, each clip in one split.

    Attributes
    ----------
    clips
        In a steady order.
    skipped
        What was found and is not used.
    kind
        "AIST++", "folder" or "manifest".
    notes
        What the reader decided and its user should know, a sentence each.
    """

    clips: tuple[Clip, ...]
    skipped: tuple[Skip, ...]
    kind: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(clip.name for clip in self.clips).items() if count > 1]
        if twice:
            raise ValueError(f"two clips have the name {twice[0]!r}")

    def __repr__(self) -> str:
        return f"DanceSet(kind={self.kind!r}, clips={len(self.clips)}, skipped={len(self.skipped)})"

    def of(self, split: Split) -> tuple[Clip, ...]:
        """The clips of one split."""
        return tuple(clip for clip in self.clips if clip.split == split)

    def segments(
        self, split: Split, seconds: float, hop: float | None = None, *, tail: bool = False
    ) -> tuple[Segment, ...]:
        """Windows of all clips of a split, clip by clip; see `window_starts`."""
        return tuple(
            Segment(clip, start)
            for clip in self.of(split)
            for start in window_starts(clip.seconds, seconds, hop, tail=tail)
        )

    def summary(self, seconds: float = 5.12, hop: float | None = None, *, tail: bool = False) -> Summary:
        """Counts by split, and what was left out by cause.

        Parameters
        ----------
        seconds, hop, tail
            Of the windows that are counted; see `window_starts`. Those of training alone may overlap: `hop` is theirs.
        """
        causes: dict[str, list[Skip]] = {}
        for skip in self.skipped:
            causes.setdefault(skip.cause or skip.reason.removeprefix(f"{skip.path}: "), []).append(skip)
        ordered = sorted(causes.items(), key=lambda item: (-len(item[1]), item[0]))
        return Summary(
            self.kind,
            tuple(self._counts(split, seconds, hop if split == "train" else None, tail) for split in SPLITS),
            tuple(
                SkipCounts(cause, len(skips), skips[0].path, tuple(skip.reason for skip in skips[:TOLD]))
                for cause, skips in ordered
            ),
            self.notes,
        )

    def _counts(self, split: Split, seconds: float, hop: float | None, tail: bool) -> SplitCounts:
        clips = self.of(split)
        genres = Counter(clip.genre or "unknown" for clip in clips)
        return SplitCounts(
            split,
            songs=len({clip.song for clip in clips}),
            clips=len(clips),
            segments=len(self.segments(split, seconds, hop, tail=tail)),
            seconds=math.fsum(clip.seconds for clip in clips),
            genres=tuple(sorted(genres.items())),
        )


def window_starts(length: float, seconds: float, hop: float | None = None, *, tail: bool = False) -> tuple[float, ...]:
    """Where whole windows begin in a clip.

    Parameters
    ----------
    length
        Of the clip in seconds.
    seconds
        Of a window; the last may run past the end of the clip by `SLACK`.
    hop
        Seconds from one window to the next; None is the length of a window.
    tail
        Where at least half a hop is left over behind the last window, take one more that ends with the clip. With it
        the official test and validation splits of AIST++ give the paper's 36 windows each, and without it 26.

    Returns
    -------
    Times in seconds from 0; none for a clip shorter than a window.
    """
    hop = seconds if hop is None else hop
    if not (seconds > 0.0 and hop > 0.0):
        raise ValueError(f"windows need a length and a hop above 0 s, not {seconds} and {hop}")
    room = length - seconds
    if room < -SLACK:
        return ()
    # The tolerance keeps a multiple a multiple in floating point.
    starts = [round(i * hop, 9) for i in range(1 + math.floor((room + SLACK) / hop + 1e-9))]
    if tail and room - starts[-1] >= hop / 2 - SLACK and room > starts[-1]:
        starts.append(round(room, 9))
    return tuple(starts)
