"""Write a film of a video's picture and other sound. FFmpeg runs in the present process, where damage may end it."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2m_cli.errors import VideoError
from d2m_cli.media.audio import Samples
from d2m_cli.media.container import explained, first_line, open_media, refuse_want_of_memory
from d2m_cli.media.copied import CantCopyError, copied_packets
from d2m_cli.media.encoded import encoded_packets
from d2m_cli.media.film_formats import FilmFormat
from d2m_cli.media.timeline import Tell, Timeline
from d2m_cli.media.timeline_reading import read_timeline

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_KEPT = ("title", "artist", "comment", "creation_time", "location")

_STILL = 0.001
"""Seconds by which a picture may be moved, where the clocks are no coarser."""
_END = 0.01
"""Seconds by which the end may be moved."""

PicturePackets = Callable[[Any, Any], Iterator[Any]]
"""Adds a stream for the picture to the second container at once, and gives its packets from the first."""


@dataclass(frozen=True)
class Film:
    """What `write_film` wrote.

    Attributes
    ----------
    copied
        Whether the picture was copied bit for bit.
    note
        In words: copied, or re-encoded and why.
    seconds
        Length of the picture in seconds.
    """

    copied: bool
    note: str
    seconds: float


def write_film(
    timeline: Timeline,
    samples: Samples,
    sample_rate: int,
    part: Path,
    tell: Tell,
    *,
    kind: FilmFormat,
    titles: bool = True,
    comment: str = "",
) -> Film:
    """Write a film with the picture of a video and the given sound.

    The picture is copied where such a file can hold it; the copy is read back, and where it is not in step with the
    timeline, or FFmpeg stumbles, the picture is re-encoded.

    Parameters
    ----------
    timeline
        Of the video.
    samples
        (1 or 2, n) float32, as long as the picture.
    sample_rate
        In Hz, one that the sound of such a file knows.
    part
        The file to write.
    tell
        Told now and then how many packets have come.
    kind
        What to write.
    titles
        Whether to keep the video's title, date and place. Without, the file says nothing of its origin.
    comment
        What it is to tell besides, behind the video's own comment.

    Raises
    ------
    VideoError
        The picture can't be read or decoded, or FFmpeg can't encode it.
    OSError
        The part can't be written: full disk, too large. It carries the part's name.
    """
    import av

    def copy(source: Any, target: Any) -> Iterator[Any]:
        return copied_packets(source, target, timeline, tell, kind)

    def encode(source: Any, target: Any) -> Iterator[Any]:
        return encoded_packets(source, target, timeline, tell, notes)

    notes: list[str] = []
    told = _Told(titles, comment)
    try:
        _write(timeline, samples, sample_rate, part, kind, told, copy)
        out_of_step = _out_of_step(timeline, part, tell)
        if out_of_step is None:
            return Film(True, "picture copied", timeline.duration)
        reason = f"a copy {out_of_step}"
    except CantCopyError as error:
        reason = str(error)
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        refuse_want_of_memory(error)
        reason = f"it can't be copied ({first_line(error)})"
    try:
        _write(timeline, samples, sample_rate, part, kind, told, encode)
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        refuse_want_of_memory(error)
        cause = first_line(error)
        raise VideoError(f"{timeline.path}: its picture can't be re-encoded ({cause}); convert it") from error
    return Film(False, "; ".join([f"picture re-encoded as H.264: {reason}", *notes]), timeline.duration)


@dataclass(frozen=True)
class _Told:
    """What a film tells of itself: whether what the video did, and a comment of its own."""

    titles: bool
    comment: str

    def of(self, source: Any) -> dict[str, str]:
        found = {key.lower(): value for key, value in source.metadata.items()} if self.titles else {}
        told = {key: found[key] for key in _KEPT if key in found}
        comments = [text for text in (told.get("comment"), self.comment) if text]
        return {**told, "comment": "; ".join(comments)} if comments else told


def _write(
    timeline: Timeline,
    samples: Samples,
    rate: int,
    part: Path,
    kind: FilmFormat,
    told: _Told,
    picture: PicturePackets,
) -> None:
    import av

    options = dict(kind.options)
    if not told.titles:
        options["fflags"] = "+bitexact"
    # Python names a folder that went or may not be written; FFmpeg's words for it are those for a codec it refuses.
    part.open("wb").close()
    try:
        source = open_media(timeline.path)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise explained(timeline.path, error) from error
    with source:
        target = av.open(str(part), "w", format=kind.container, options=options, metadata_errors="replace")
        try:
            target.metadata.update(told.of(source))
            packets = picture(source, target)
            sound = kind.sound(target, samples, rate)
            for packet in heapq.merge(packets, sound, key=lambda packet: packet.dts * packet.time_base):
                with writing(part):
                    target.mux(packet)
        except BaseException:
            with suppress(av.error.FFmpegError):
                target.close()
            raise
        with writing(part):
            target.close()


@contextmanager
def writing(part: Path) -> Iterator[None]:
    """Tell a disk that takes no more from what FFmpeg can't do: its errors have the same numbers and types."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in _DISK:
            raise OSError(error.errno, os.strerror(error.errno), str(part)) from error
        raise


def _out_of_step(timeline: Timeline, part: Path, tell: Tell) -> str | None:
    """How a copy that was written differs from its source; None where it doesn't."""
    try:
        made = read_timeline(part, tell)
    except VideoError as error:
        return f"can't be read back ({str(error).removeprefix(f'{part}: ')})"
    if made.frames != timeline.frames:
        return f"shows {made.frames} pictures in place of {timeline.frames}"
    moved = float(np.abs(made.times - timeline.times).max())
    if moved > max(_STILL, float(timeline.time_base)):
        return f"shows pictures up to {moved:.3f} s away from their time"
    if abs(made.duration - timeline.duration) > _END:
        return f"lasts {made.duration:.3f} s in place of {timeline.duration:.3f} s"
    if made.orientation != timeline.orientation or (made.width, made.height) != (timeline.width, timeline.height):
        return "has another size or orientation"
    return None
