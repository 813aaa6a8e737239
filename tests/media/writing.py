"""Small videos written packet by packet with PyAV's encoders, so that every time in them is known by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("SVT_LOG", "1")  # else the AV1 encoder writes its settings to stderr

import av
import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.privileges import open_encoder
from tests.media.pattern import SIZE, draw
from tests.media.program_stream import write_program_stream

TICK = Fraction(1, 720_000)
"""Seconds of the clock that packets are moved on: picture periods of all usual rates are whole numbers of it."""
CLICK = Fraction(1, 1000)

_FAST = {
    "libx264": {"preset": "ultrafast", "crf": "20", "bf": "0", "threads": "1"},
    "libx265": {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=none:pools=1:bframes=0"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "500k", "auto-alt-ref": "0", "threads": "1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "500k", "threads": "1"},
    "libsvtav1": {"preset": "5", "crf": "5", "svtav1-params": "lp=1"},
    "prores_ks": {},
}
_PIX_FMTS = {"gif": "rgb8", "mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}

Packets = list[Any]


@dataclass(frozen=True)
class Colours:
    """Numbers of ISO/IEC 23091-2 for matrix, primaries and transfer; 1 for limited range and 2 for full."""

    matrix: int
    primaries: int
    transfer: int
    span: int


@dataclass(frozen=True)
class Track:
    """A picture track to write.

    Attributes
    ----------
    slots
        Place of every picture on the even clock of `rate`; a picture's number is its place here, not its slot.
    rate
        Pictures a second.
    codec, pix_fmt, size, options
        Encoder, its pixel format, (width, height) and options on top of the quick ones.
    start
        Seconds that all times are moved by.
    last
        Slots for which the last picture is shown.
    numbers
        Numbers that the pictures show; 0, 1, 2 ... where None.
    edit
        Changes the list of packets in decoding order before it is written, times in `TICK`.
    setup
        Called with the stream before encoding begins, for what PyAV sets on streams and encoders.
    colours
        How colours are coded, and tagged; untagged BT.601 where None.
    """

    slots: tuple[int, ...]
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    pix_fmt: str | None = None
    size: tuple[int, int] = SIZE
    options: dict[str, str] = field(default_factory=dict)
    start: Fraction = Fraction(0)
    last: int = 1
    numbers: tuple[int, ...] | None = None
    edit: Callable[[Packets], Packets] | None = None
    setup: Callable[[Any], None] | None = None
    colours: Colours | None = None

    @property
    def stamps(self) -> list[Fraction]:
        """Time of every picture in seconds, on the clock of the file."""
        return [self.start + slot / self.rate for slot in self.slots]

    @property
    def end(self) -> Fraction:
        """End of the last picture in seconds, on the clock of the file."""
        return self.stamps[-1] + self.last / self.rate


@dataclass(frozen=True)
class Sound:
    """A sound track of silence and clicks of 1 ms.

    Attributes
    ----------
    clicks
        When it clicks, in seconds on the clock of the file.
    start, end
        When it is heard first and last.
    codec, rate
        Encoder and samples a second.
    told
        Whether the container tells players how much of the encoder's own delay to skip. Where it doesn't, players hear
        that delay too, and it counts as sound.
    """

    clicks: tuple[Fraction, ...]
    end: Fraction
    start: Fraction = Fraction(0)
    codec: str = "aac"
    rate: int = 44100
    told: bool = True

    def samples(self) -> NDArray[np.float32]:
        """All of it, (n,) float32, from `start` on."""
        samples = np.zeros(round((self.end - self.start) * self.rate), np.float32)
        for click in self.clicks:
            first = round((click - self.start) * self.rate)
            samples[first : first + round(CLICK * self.rate)] = 0.8
        return samples


def write(path: Path, *tracks: Track | Sound, attachments: Sequence[tuple[str, str, bytes]] = ()) -> Path:
    """Write a file with the given tracks, in their order, and attached files (name, type, content).

    An .mpg of MPEG-2 and everything else is left to FFmpeg's muxers; a .vob is put together here.
    """
    by_hand = path.suffix == ".vob"
    mpeg2 = any(track.codec == "mpeg2video" for track in tracks)
    form = "null" if by_hand else "vob" if path.suffix == ".mpg" and mpeg2 else None
    # Without it FFmpeg puts random numbers into some files.
    options = {"fflags": "+bitexact"}
    with av.open(os.devnull if by_hand else str(path), "w", format=form, options=options) as container:
        for attachment in attachments:
            container.add_attachment(*attachment)
        streams = [_add(container, track) for track in tracks]
        packets = [
            packet
            for stream, track in zip(streams, tracks, strict=True)
            for packet in (_sound(stream, track) if isinstance(track, Sound) else _pictures(stream, track))
        ]
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        if by_hand:
            return write_program_stream(path, packets)
        for packet in packets:
            container.mux_one(packet)
    return path


def _add(container: Any, track: Track | Sound) -> Any:
    if isinstance(track, Sound):
        stream = container.add_stream(track.codec, rate=track.rate, layout="mono")
        stream.bit_rate = 128_000
        return stream
    stream = container.add_stream(track.codec, rate=track.rate)
    stream.width, stream.height = track.size
    stream.pix_fmt = track.pix_fmt or _PIX_FMTS.get(track.codec, "yuv420p")
    stream.codec_context.time_base = 1 / track.rate
    stream.options = {**_FAST.get(track.codec, {}), **track.options}
    if track.codec not in _FAST and track.codec not in ("png", "huffyuv", "ffv1"):
        stream.codec_context.qscale = True
        stream.codec_context.global_quality = 2 * 118  # 2 of 31 in libavcodec's units: coarse codecs stay readable
    if track.colours is not None:
        context, colours = stream.codec_context, track.colours
        context.colorspace, context.color_primaries = colours.matrix, colours.primaries
        context.color_trc, context.color_range = colours.transfer, colours.span
    if track.setup is not None:
        track.setup(stream)
    return stream


def _pictures(stream: Any, track: Track) -> Packets:
    packets = []
    open_encoder(stream)
    numbers = track.numbers or tuple(range(len(track.slots)))
    for slot, number in zip(track.slots, numbers, strict=True):
        frame = av.VideoFrame.from_ndarray(draw(number, track.size), format="rgb24")
        if track.colours is None:
            frame = frame.reformat(format=stream.pix_fmt)
        else:
            matrix, span = track.colours.matrix, track.colours.span
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix, dst_color_range=span)
        frame.pts, frame.time_base = slot, 1 / track.rate
        packets += stream.encode(frame)
    packets += stream.encode(None)
    following = dict(zip(track.slots, [*track.slots[1:], track.slots[-1] + track.last], strict=True))
    for packet in packets:
        slot = round(packet.pts * packet.time_base * track.rate)
        decoded = round(packet.dts * packet.time_base * track.rate)
        packet.pts, packet.dts, packet.duration = (
            _ticks(seconds)
            for seconds in (
                track.start + slot / track.rate,
                track.start + decoded / track.rate,
                (following[slot] - slot) / track.rate,
            )
        )
        packet.time_base, packet.stream = TICK, stream
    return track.edit(packets) if track.edit else packets


def _sound(stream: Any, sound: Sound) -> Packets:
    stream.codec_context.open()
    samples = sound.samples()
    priming = 0
    if not sound.told:
        priming = _PRIMING.get(sound.codec, 0)
        samples = samples[priming:]
    packets = []
    size = stream.codec_context.frame_size or 1024
    for first in range(0, len(samples), size):
        block = np.ascontiguousarray(samples[None, first : first + size])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = sound.rate, first, Fraction(1, sound.rate)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    shift = round(sound.start * sound.rate) + priming
    for packet in packets:
        packet.pts += shift
        packet.dts += shift
        packet.time_base, packet.stream = Fraction(1, sound.rate), stream
    return packets


_PRIMING = {"aac": 1024, "mp2": 481, "ac3": 256, "wmav2": 2048}
"""Samples that encoders put in front of the first."""


def _ticks(seconds: Fraction) -> int:
    ticks = Fraction(seconds) / TICK
    if ticks.denominator != 1:
        raise ValueError(f"{seconds} s is no whole number of ticks")
    return int(ticks)
