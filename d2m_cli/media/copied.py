"""The picture of a video as it is, for another file: packets with the times that its timeline says."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.media.container import first_line, open_media
from d2m_cli.media.decoded import decoded
from d2m_cli.media.encoded import clock_of
from d2m_cli.media.film_formats import MP4, FilmFormat
from d2m_cli.media.packets import DROPPED, HIDDEN, decoding_times
from d2m_cli.media.timeline import Tell, Timeline

_REORDERED = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"})

Ints = NDArray[np.int64]


class CantCopyError(Exception):
    """The file can't hold this picture as it is; the text says why."""


def copied_packets(source: Any, target: Any, timeline: Timeline, tell: Tell, kind: FilmFormat) -> Iterator[Any]:
    """Packets of the picture for a stream that is added to `target` at once.

    Parameters
    ----------
    source, target
        Containers that are read and written.
    timeline
        Of the source.
    tell
        Told how many packets have come.
    kind
        What is written.

    Raises
    ------
    CantCopyError
        The codec, the order of the pictures or what is hidden doesn't fit.
    """
    import av

    stream = source.streams[timeline.stream]
    # A decoder's own name may differ from its codec's, as libdav1d's.
    codec = stream.codec_context.codec.canonical_name
    if codec not in kind.codecs:
        raise CantCopyError(f"an {kind.suffix} can't hold {codec}")
    clock = clock_of(timeline)
    order = timeline.order
    if timeline.part is not None and timeline.part.pictures and (timeline.in_sequence or _hides(order)):
        raise CantCopyError("the passage does not begin with a picture that stands by itself")
    if timeline.in_sequence and codec in _REORDERED:
        order = _decoded_order(timeline, tell)
    kept, pts, end = _stamps(timeline, order, clock)
    dts = decoding_times(pts, 1)
    # Tracks end where the last packet does, and films where the last picture does: both are the same.
    last = np.array([end - pts.max()] * len(pts))
    try:
        copy = target.add_stream_from_template(stream, opaque=True)
        copy.time_base = clock
        copy.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio or 0
        if codec == "hevc" and kind is MP4:
            copy.codec_context.codec_tag = "hvc1"  # the only one of its two tags that Apple's players take
    except (av.error.FFmpegError, ValueError) as error:
        raise CantCopyError(f"an {kind.suffix} can't hold it as it is ({first_line(error)})") from error

    def packets() -> Iterator[Any]:
        for place, packet in enumerate(_nth_packets(source, stream, kept)):
            packet.time_base = clock
            packet.pts, packet.dts, packet.duration = int(pts[place]), int(dts[place]), int(last[place])
            packet.stream = copy
            yield packet
            tell(place)

    return packets()


def _hides(order: Ints) -> bool:
    """Whether something that is not shown has to be decoded for what is."""
    shown = np.flatnonzero(order >= 0)
    return bool((order[: int(shown[0])] == HIDDEN).any())


def _nth_packets(source: Any, stream: Any, numbers: Ints) -> Iterator[Any]:
    """The packets of a track with the given rising numbers, in the order of decoding."""
    wanted = iter(numbers.tolist())
    following = next(wanted, None)
    count = 0
    for packet in source.demux(stream):
        if packet.size == 0:
            continue
        if count == following:
            yield packet
            following = next(wanted, None)
        count += 1
    if following is not None:
        raise CantCopyError("it ends earlier than when it was read first")


def _stamps(timeline: Timeline, order: Ints, clock: Fraction) -> tuple[Ints, Ints, int]:
    """Numbers of the packets to write, when each is shown, and the end; in ticks of `clock` from time zero."""
    # What is hidden after the last shown picture serves nobody.
    kept = np.flatnonzero(order[: int(np.flatnonzero(order >= 0)[-1]) + 1] != DROPPED)
    shown = np.round(timeline.times / float(clock)).astype(np.int64)
    end = round(timeline.duration / clock)
    hidden = order[kept] == HIDDEN
    pts = np.where(hidden, 0, shown[order[kept]])
    if hidden.any():
        pts[hidden] = _hidden_stamps(timeline, kept[hidden], clock)
        if (pts[hidden] >= shown[0]).any():
            what = "it hides" if timeline.part is None else "behind the passage there are"
            raise CantCopyError(f"{what} pictures after its first one, on which others build")
        # Only what lies before zero is hidden.
        pts[hidden] -= max(0, int(pts[hidden].max()) + 1)
    return kept, pts, end


def _hidden_stamps(timeline: Timeline, numbers: Ints, clock: Fraction) -> Ints:
    with open_media(timeline.path) as source:
        stamps = [packet.pts for packet in _nth_packets(source, source.streams[timeline.stream], numbers)]
    if None in stamps:
        raise CantCopyError("hidden pictures carry no time stamps")
    return np.array([round((stamp - timeline.zero) * timeline.time_base / clock) for stamp in stamps], np.int64)


def _decoded_order(timeline: Timeline, tell: Tell) -> Ints:
    """Which picture each packet holds, as the decoder shows it where time stamps don't."""
    with open_media(timeline.path) as source:
        numbers = [picture.packet for picture in decoded(source, timeline, tell)]
    wanted = np.flatnonzero(timeline.order >= 0)
    if sorted(numbers) != wanted.tolist():
        raise CantCopyError(f"its {timeline.container} container does not tell which picture a packet holds")
    order = timeline.order.copy()
    order[numbers] = np.arange(len(numbers))
    return order
