"""The picture of a video re-encoded as H.264, where a film can't hold it as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from d2m_cli.errors import VideoError
from d2m_cli.media.decoded import decoded
from d2m_cli.media.timeline import Tell, Timeline

_FINEST = 1_000_000
"""Ticks a second; with more, the 32 bits in which an .mp4 counts the ticks of one picture last seconds only."""

_COARSE = Fraction(1, 10_000)
"""Seconds a tick, above which rounding to ticks would show."""

_EVEN = 0.005
"""Seconds by which the steps from picture to picture differ on clocks that round an even rate."""

_BT709 = 1
_LIMITED, _FULL = 1, 2


def clock_of(timeline: Timeline) -> Fraction:
    """Seconds a tick of the clock on which the picture is written: the source's own, or 1/90000 if that is too fine.

    A passage may begin between two ticks of a coarse clock; its pictures are then written on the finer one.
    """
    own = timeline.time_base
    between = timeline.part is not None and own > _COARSE
    return Fraction(1, 90_000) if own.denominator > _FINEST or between else own


def encoded_packets(source: Any, target: Any, timeline: Timeline, tell: Tell, notes: list[str]) -> Iterator[Any]:
    """Packets of the picture for a stream that is added to `target` at once.

    Range, matrix, transfer and primaries stay as they are, and so do 10 bits; the picture is turned and mirrored as
    players show it. Colours are thinned to 4:2:0, transparency is dropped, an odd last line or column is cropped, and
    pictures of another size than the first are scaled to it.

    Parameters
    ----------
    source, target
        Containers that are read and written.
    timeline
        Of the source.
    tell
        Told how many packets have come.
    notes
        Gets what was left out, in words.

    Raises
    ------
    VideoError
        No picture can be decoded, or it is too small to be encoded.
    """
    clock = clock_of(timeline)
    width, height = timeline.width // 2 * 2, timeline.height // 2 * 2
    if not width or not height:
        raise VideoError(
            f"{timeline.path}: a picture of {timeline.width}x{timeline.height} is too small for H.264; enlarge it"
        )
    if (width, height) != (timeline.width, timeline.height):
        notes.append(f"cropped from {timeline.width}x{timeline.height} to even sides")
    stream = source.streams[timeline.stream]
    made = target.add_stream("libx264", rate=Fraction(timeline.fps).limit_denominator(1001))
    made.options = {"crf": "18", "preset": "veryfast"}
    steps = np.diff(timeline.times)
    if len(steps) and np.ptp(steps) > _EVEN:
        # Decoding times lag behind by some pictures where there are B-frames, and by how long is not known before the
        # end: only in step with the pictures do they end together.
        made.options["bf"] = "0"
    made.width, made.height = width, height
    made.codec_context.time_base = clock
    aspect = stream.sample_aspect_ratio
    if aspect:
        made.codec_context.sample_aspect_ratio = 1 / aspect if timeline.rotation % 180 else aspect
    prepare = _preparation(timeline, made)
    ticks = np.round(timeline.times / float(clock)).astype(np.int64)
    end = round(timeline.duration / clock)

    def packets() -> Iterator[Any]:
        count, last = 0, 0
        for picture in decoded(source, timeline, tell):
            frame = prepare(picture.frame)
            last = int(ticks[picture.number])
            frame.pts, frame.time_base = last, clock
            count += 1
            for packet in made.encode(frame):
                # A packet's own end must not lie behind the last picture's; the next one ends it all the same.
                packet.duration = 1
                yield packet
        if not count:
            raise VideoError(f"{timeline.path}: holds no frame that can be decoded; is it a complete video?")
        if count < timeline.frames:
            notes.append(f"{timeline.frames - count} of {timeline.frames} pictures can't be decoded")
        for packet in made.encode(None):
            packet.duration = end - last
            yield packet

    return packets()


def _preparation(timeline: Timeline, made: Any) -> Callable[[Any], Any]:
    """Set the encoder's pixel format and colour, and give what brings a decoded frame into them."""
    import av
    from av.video.reformatter import Colorspace

    colour = timeline.colour
    stored = av.VideoFormat(colour.pixel_format)
    deep = any(component.bits > 8 for component in stored.components)
    context = made.codec_context
    context.color_range, context.colorspace = colour.full_range, colour.matrix
    context.color_trc, context.color_primaries = colour.transfer, colour.primaries
    conversion: dict[str, Any] = {}
    # Palettes are of RGB, though FFmpeg doesn't call them so.
    if stored.is_rgb or stored.has_palette:
        context.color_range, context.colorspace = _LIMITED, _BT709
        conversion = {
            "dst_colorspace": Colorspace.ITU709, "src_color_range": _FULL, "dst_color_range": _LIMITED
        }  # fmt: skip
    made.pix_fmt = "yuv420p10le" if deep else "yuvj420p" if stored.name.startswith("yuvj") else "yuv420p"
    width, height = timeline.orientation.size(timeline.width, timeline.height)
    # Cropped before it is turned, where the lines of colour lie as they were stored.
    steps = [] if not width % 2 and not height % 2 else [f"crop={width // 2 * 2}:{height // 2 * 2}:0:0"]
    graph = _graph(width, height, made.pix_fmt, [*steps, *timeline.orientation.filters])

    def prepare(frame: Any) -> Any:
        frame = frame.reformat(width=width, height=height, format=made.pix_fmt, threads=1, **conversion)
        frame.pts = None
        if graph is not None:
            graph.vpush(frame)
            frame = graph.vpull()
        # Else the encoder takes over which pictures were key frames.
        frame.pict_type = 0
        return frame

    return prepare


def _graph(width: int, height: int, pixel_format: str, filters: list[str]) -> Any:
    import av

    if not filters:
        return None
    graph = av.filter.Graph()
    stored = av.VideoFormat(pixel_format)
    nodes = [graph.add_buffer(width=width, height=height, format=stored, time_base=Fraction(1, 1000))]
    for one in filters:
        name, _, arguments = one.partition("=")
        nodes.append(graph.add(name, arguments or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
