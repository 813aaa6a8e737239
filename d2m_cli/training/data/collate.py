"""From what the readers find to a set: lengths are measured, splits given, and what can't be used is named."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from d2m_cli.errors import InputError, UsageError
from d2m_cli.ground.aist import Split
from d2m_cli.ground.options import option
from d2m_cli.ground.printable import quote
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import sound_seconds
from d2m_cli.training.data.clips import SLACK, Clip, DanceSet, Skip
from d2m_cli.training.data.durations import dance_seconds
from d2m_cli.training.data.splits import split_songs

_THREADS = 8
"""Files whose headers are read at once: decoders and disks, not Python, take the time."""


@dataclass(frozen=True)
class ReadOptions:
    """How a paired set is read.

    Attributes
    ----------
    window_seconds
        A clip shorter than this is of no use.
    views
        Cameras of AIST++, from 0 (``c01``) to 8 (``c09``); each gives clips of its own.
    videos, music
        Folders to look into for AIST++'s videos and music first, beside the tree itself.
    keep_ignored
        Use what AIST++'s ``ignore_list.txt`` names. That list is about 3D reconstructions, which are not used here.
    require_genre
        Leave out what has no known genre.
    needs
        Splits that must not be empty.
    """

    window_seconds: float = 5.12
    views: tuple[int, ...] = (0,)
    videos: Path | None = None
    music: Path | None = None
    keep_ignored: bool = False
    require_genre: bool = False
    needs: tuple[Split, ...] = ("train",)

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) < len(self.views) or not all(0 <= view <= 8 for view in self.views):
            raise UsageError(f"cameras are numbered from 0 (c01) to 8 (c09), each once; not {self.views}")
        for name, folder in (("videos", self.videos), ("music", self.music)):
            if folder is not None and not folder.is_dir():
                raise UsageError(f"the folder of {name} {folder} does not exist; check the spelling")


@dataclass(frozen=True)
class Place:
    """Where something stands that may have to be skipped.

    Attributes
    ----------
    path
        The file.
    line
        Its line, or None for the file as a whole.
    text
        What stands on the line.
    """

    path: Path
    line: int | None = None
    text: str = ""

    def skip(self, cause: str, detail: str = "", *, quoted: bool = False) -> Skip:
        """What is not used, and why.

        Parameters
        ----------
        cause
            Why.
        detail
            Is told, and does not count as another cause.
        quoted
            Whether `detail` holds what is wrong of the line; else the whole line is told.
        """
        line = "" if self.line is None else f"line {self.line}: "
        text = f": {quote(self.text)}" if self.text and not quoted else ""
        return Skip(self.path, f"{self.path}: {line}{cause}{detail}{text}", cause)


@dataclass(frozen=True)
class Draft:
    """A clip before it is measured; see `Clip`.

    Attributes
    ----------
    split
        None where the song's name is to decide.
    place
        What is named where the clip can't be used: a file, and for a manifest also the line.
    """

    name: str
    dance: Path
    view: int | None
    audio: Path
    audio_start: float
    song: str
    genre: str | None
    split: Split | None
    place: Place


@dataclass(frozen=True)
class Drafts:
    """What a reader found; see `DanceSet`."""

    drafts: tuple[Draft, ...]
    skipped: tuple[Skip, ...]
    kind: str
    notes: tuple[str, ...] = ()


def complete(found: Drafts, source: Path, options: ReadOptions, progress: Progress) -> DanceSet:
    """Measure drafts and give them their splits.

    Parameters
    ----------
    found
        From a reader.
    source
        What the user named, for messages.
    options
        Shortest clip, and splits that are needed.
    progress
        Told after each clip.

    Raises
    ------
    UsageError
        No clip can be used, or a needed split is empty.
    """
    dances, sounds = cache(dance_seconds), cache(sound_seconds)
    measured: list[tuple[Draft, float]] = []
    skipped = list(found.skipped)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        lengths = pool.map(lambda draft: _measure(draft, options, dances, sounds), found.drafts)
        with progress.stage("lengths of dances and music", len(found.drafts)) as advance:
            for draft, seconds in zip(found.drafts, lengths, strict=True):
                if isinstance(seconds, Skip):
                    skipped.append(seconds)
                else:
                    measured.append((draft, seconds))
                advance(1, draft.name)
    finally:
        pool.shutdown(cancel_futures=True)
    splits = split_songs(draft.song for draft, _ in measured if draft.split is None)
    clips = tuple(_clip(draft, draft.split or splits[draft.song], seconds) for draft, seconds in measured)
    dance_set = DanceSet(clips, tuple(skipped), found.kind, found.notes)
    _check(dance_set, source, options)
    return dance_set


def _clip(draft: Draft, split: Split, seconds: float) -> Clip:
    return Clip(
        draft.name,
        draft.dance,
        draft.view,
        draft.audio,
        draft.audio_start,
        draft.song,
        draft.genre,
        split,
        seconds,
    )


def _measure(
    draft: Draft,
    options: ReadOptions,
    dances: Callable[[Path, int | None], float],
    sounds: Callable[[Path], float],
) -> float | Skip:
    """Seconds that dance and music have in common, or why they are of no use."""
    if options.require_genre and draft.genre is None:
        return draft.place.skip(
            "its genre is not known: put it in a folder named by genre, name it in a table, or train with "
            f"{option('genre_encoder', 'none')}"
        )
    try:
        dance = dances(draft.dance, draft.view)
    except InputError as error:
        return _unusable(draft.place, draft.dance, error)
    try:
        sound = sounds(draft.audio) - draft.audio_start
    except InputError as error:
        return _unusable(draft.place, draft.audio, error)
    seconds = min(dance, sound)
    if seconds < options.window_seconds - SLACK:
        which = "the dance" if dance <= sound else "the music"
        cause = f"{which} is shorter than a window of {options.window_seconds:g} s"
        return draft.place.skip(cause, f" ({max(seconds, 0.0):.2f} s)")
    return seconds


def _unusable(place: Place, path: Path, error: InputError) -> Skip:
    """An error under its place, the file named once; the cause goes without it."""
    cause = str(error).removeprefix(f"{path}: ")
    told = place.skip(cause if path == place.path else str(error), quoted=True)
    return replace(told, cause=cause)


def _check(dances: DanceSet, source: Path, options: ReadOptions) -> None:
    if not dances.clips:
        raise UsageError(f"{source}: holds no dance with music that can be used{_told(dances)}")
    for split in options.needs:
        if not dances.of(split):
            filled = ", ".join(f"{s} {len(dances.of(s))}" for s in ("train", "validation", "test"))
            raise UsageError(f"{source}: the {split} split is empty (clips: {filled}){_told(dances)}")


def _told(dances: DanceSet) -> str:
    """Every cause, since there is nothing else to go by where it ends here."""
    lines = [
        "\n    ".join((f"{skips.count} x {skips.cause}, such as {skips.reasons[0]}", *skips.reasons[1:3]))
        if skips.count > 1
        else skips.reasons[0]
        for skips in dances.summary().skipped
    ]
    return ":" + "".join(f"\n  {line}" for line in lines) if lines else ""
