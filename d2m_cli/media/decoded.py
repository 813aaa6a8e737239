"""One way to decode: every packet is numbered first, so that each picture tells which one it is, whatever was lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from d2m_cli.ground.cores import cores
from d2m_cli.media.container import refuse_want_of_memory
from d2m_cli.media.timeline import Tell, Timeline


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    Attributes
    ----------
    number
        Its number among the shown ones.
    packet
        Number of the packet it came in.
    frame
        PyAV's frame.
    """

    number: int
    packet: int
    frame: Any


def decoded(source: Any, timeline: Timeline, tell: Tell) -> Iterator[Decoded]:
    """The shown pictures of a video in their order; one that can't be decoded is passed over, as players do.

    Parameters
    ----------
    source
        The open container.
    timeline
        Of the video.
    tell
        Told of every packet.
    """
    import av

    stream = source.streams[timeline.stream]
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = cores()
    order = timeline.order
    lead = timeline.part.packets if timeline.part is not None else 0
    before = timeline.part.pictures if timeline.part is not None else 0
    packets = failed = out = 0
    last = -1
    for packet in source.demux(stream):
        if packet.size:
            if packets >= len(order):
                break
            # With its number for a time stamp, a picture tells which packet it comes from.
            packet.pts, packet.dts = packets, packets
            packets += 1
            tell(packets)
            if packets <= lead:
                continue
        try:
            frames = stream.codec_context.decode(packet if packet.size else None)
        except av.error.FFmpegError as error:
            refuse_want_of_memory(error)
            failed += 1
            continue
        for frame in frames:
            origin = frame.pts if frame.pts is not None else packets - 1
            if timeline.in_sequence:
                number = out + failed - before
            else:
                number = int(order[origin]) if origin < len(order) else -1
            out += 1
            if last < number < timeline.frames:
                last = number
                yield Decoded(number, origin, frame)
        if last == timeline.frames - 1:
            return
