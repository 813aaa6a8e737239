"""The timeline of a video file (`d2m_cli.media.timeline`), read from the packets of its picture track."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import VideoError
from d2m_cli.media.container import check_file, explained, films_of, open_media, refuse_want_of_memory
from d2m_cli.media.orientation import Orientation, orientation_of
from d2m_cli.media.packets import UNKNOWN, Layout, Packets, lay_out, may_miss
from d2m_cli.media.timeline import LONGEST, LONGEST_GAP, Colour, Tell, Timeline, silent

_ANNOUNCING = ("mov", "matroska", "avi")
_ENDING = ("mov", "gif")
_COUNTED = ("avi",)
_CLOCK_RESTARTS = ("mpegts", "mpeg")
_FOR_DECORD = {"mov", "matroska"}


def read_timeline(path: Path, tell: Tell | None = None) -> Timeline:
    """Read the timeline of a video: all packets of its picture track, and its first picture.

    FFmpeg runs in this process; `d2m_cli.media.video.probe` has it run in another.

    Parameters
    ----------
    path
        The video.
    tell
        Told now and then how many packets have come.

    Raises
    ------
    VideoError
        Not a video, damaged, or with time stamps that no video has.
    """
    import av

    path = Path(path)
    check_file(path)
    told = tell or silent
    try:
        with open_media(path) as container:
            size = path.stat().st_size
            streams = _picture_streams(path, container)
            for stream in streams:
                _check_count(path, int(stream.frames or 0), size)
            name = container.format.name.split(",")[0]
            stream, packets = _read_packets(path, name, container, streams, size, told)
            sounds = [_start(one) for one in container.streams.audio]
            announced = _announced(name, container, stream)
            others = len(container.streams.video) - 1
            number = int(stream.index)
        with open_media(path) as container:
            index, first = _first_picture(path, container, number, told)
            layout = lay_out(packets, min(index, len(packets) - 1))
            if not len(layout.ticks):
                raise VideoError(f"{path}: holds no picture that is shown")
            _check_length(path, announced, layout, packets.time_base)
            codec = container.streams[number].codec_context.codec.canonical_name
            return _timeline(path, name, codec, number, packets, layout, sounds, first, others)
    except (av.error.FFmpegError, IndexError, ValueError, OSError, OverflowError) as error:
        refuse_want_of_memory(error)
        raise explained(path, error) from error


def _picture_streams(path: Path, container: Any) -> list[Any]:
    """Picture tracks in the order in which they are wanted: those marked as default first, cover pictures never."""
    from av.stream import Disposition

    if not container.streams.video:
        raise VideoError(f"{path}: holds no picture, only sound or other data; give a video")
    films = films_of(container)
    if not films:
        raise VideoError(f"{path}: holds a cover picture and no film; give a video")
    return sorted(films, key=lambda one: not one.disposition & Disposition.default)


def _check_count(path: Path, count: int, size: int) -> None:
    if count > size:
        raise VideoError(
            f"{path}: its index lists {count} pictures, and the whole file has {size} bytes; it is damaged, copy it "
            "again"
        )


def _read_packets(
    path: Path, name: str, container: Any, streams: list[Any], size: int, tell: Tell
) -> tuple[Any, Packets]:
    """The picture track to take, and its packets. A lone picture gives way to a track that has more."""
    rows: dict[int, list[tuple[int, int, int, bool, bool]]] = {stream.index: [] for stream in streams}
    total = count = 0
    for packet in container.demux(streams):
        if packet.size == 0:
            continue
        pts, dts = packet.pts, packet.dts
        rows[packet.stream_index].append((
            UNKNOWN if pts is None else pts, UNKNOWN if dts is None else dts, packet.duration or 0, packet.is_discard,
            packet.is_keyframe,
        ))  # fmt: skip
        total, count = total + packet.size, count + 1
        tell(count)
        _check_count(path, count, size)
        if total > 8 * size + (1 << 20):
            raise VideoError(f"{path}: its index shows the same bytes over and over; it is damaged, copy it again")
    full = [stream for stream in streams if len(rows[stream.index]) > 1] or [s for s in streams if rows[s.index]]
    if not full:
        raise VideoError(f"{path}: holds no picture; is it a complete video?")
    stream = full[0]
    table = np.array(rows[stream.index], np.int64).reshape(-1, 5)
    known = name in _ENDING and stream.duration and stream.start_time is not None
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return stream, Packets(
        pts=table[:, 0],
        dts=table[:, 1],
        durations=table[:, 2],
        discard=table[:, 3].astype(bool),
        time_base=stream.time_base,
        rate=Fraction(rate) if rate and 0 < rate <= 1000 else None,
        end=stream.start_time + stream.duration if known else UNKNOWN,
        clock_restarts=name in _CLOCK_RESTARTS,
        sparse=name == "mpeg",
        counted=name in _COUNTED,
        keys=np.flatnonzero(table[:, 4]),
    )


def _announced(name: str, container: Any, stream: Any) -> Fraction | None:
    """Seconds at which the picture track should end as its header has it; None where headers are not relied on."""
    if name not in _ANNOUNCING:
        return None
    if stream.duration:
        return Fraction(((stream.start_time or 0) + stream.duration) * stream.time_base)
    parts = str(stream.metadata.get("DURATION", "")).split(":")
    if len(parts) == 3:
        try:
            hours, minutes, seconds = (Fraction(part) for part in parts)
            return 3600 * hours + 60 * minutes + seconds
        except ValueError:
            pass
    # That of the whole file may be that of the sound.
    return None if container.streams.audio or not container.duration else Fraction(container.duration, 1_000_000)


def _check_length(path: Path, announced: Fraction | None, layout: Layout, base: Fraction) -> None:
    if announced is None or not len(layout.ticks):
        return
    missing = float(announced - layout.end * base)
    if missing > may_miss(float(announced)):
        raise VideoError(
            f"{path}: pictures end at {float(layout.end * base):.1f} s of the announced {float(announced):.1f} s; the "
            "file is truncated, copy or download it again"
        )


def _start(stream: Any) -> Fraction | None:
    return None if stream.start_time is None else Fraction(stream.start_time * stream.time_base)


def _first_picture(path: Path, container: Any, stream: int, tell: Tell) -> tuple[int, Any]:
    """The first picture that comes out of the decoder, and the number of its packet."""
    import av

    count = 0
    track = container.streams[stream]
    # One picture is wanted: more threads would each decode one of their own.
    track.codec_context.thread_count = 1
    for packet in container.demux(track):
        if packet.size:
            packet.pts, packet.dts = count, count
            count += 1
            tell(count)
        try:
            for frame in track.codec_context.decode(packet if packet.size else None):
                return (frame.pts if frame.pts is not None else 0), frame
        except (av.error.InvalidDataError, av.error.PatchWelcomeError):
            continue
    raise VideoError(f"{path}: holds no frame that can be decoded; is it a complete video?")


def _timeline(
    path: Path,
    container: str,
    codec: str,
    stream: int,
    packets: Packets,
    layout: Layout,
    sounds: list[Fraction | None],
    picture: Any,
    others: int,
) -> Timeline:
    order, ticks, base = layout.order, layout.ticks, packets.time_base
    begins = ticks[0] * base
    heard = [sound for sound in sounds if sound is not None and abs(sound - begins) < LONGEST_GAP]
    audio = min(heard) if heard else None
    # Sound that a film hides at its beginning has times below 0, and a film's own clock starts at 0.
    if audio is not None and audio < 0 <= begins:
        audio = Fraction(0)
    zero = round(min(begins, begins if audio is None else audio) / base)
    times = (ticks - zero).astype(np.float64) * float(base)
    duration = float((layout.end - zero) * base)
    _check_times(path, times, duration)
    orientation = orientation_of(picture)
    width, height = orientation.size(picture.width, picture.height)
    colour = Colour(
        picture.format.name,
        int(picture.color_range),
        int(picture.colorspace),
        int(picture.color_trc),
        int(picture.color_primaries),
    )
    return Timeline(
        path=path,
        container=container,
        stream=stream,
        codec=codec,
        width=width,
        height=height,
        orientation=orientation,
        colour=colour,
        fps=_mean_rate(packets.rate, len(times), duration - float(times[0])),
        times=times,
        duration=duration,
        zero=zero,
        time_base=base,
        order=order,
        in_sequence=layout.in_sequence,
        audio_start=None if not sounds else float((audio if audio is not None else begins) - zero * base),
        plain=_not_plain(container, layout, order, orientation, colour, others),
        notes=layout.notes,
        keys=packets.keys,
    )


def _check_times(path: Path, times: NDArray[np.float64], duration: float) -> None:
    gaps = np.diff(np.append(times, duration))
    if gaps.max() > LONGEST_GAP:
        at = int(gaps.argmax())
        raise VideoError(
            f"{path}: picture {at + 1} of {len(times)} would stand for {gaps[at]:.0f} s; its time stamps are damaged, "
            "copy it again or cut it there"
        )
    if duration > LONGEST:
        raise VideoError(f"{path}: lasts {duration / 3600:.1f} h; cut it into parts of at most {LONGEST / 3600:.0f} h")


def _mean_rate(rate: Fraction | None, count: int, seconds: float) -> float:
    """The container's rate, or what the pictures show where that is less."""
    counted = count / seconds if seconds > 0 else 25.0
    return min(float(rate), counted) if rate and abs(float(rate) / counted - 1) > 0.02 else float(rate or counted)


def _not_plain(
    container: str, layout: Layout, order: NDArray[np.int64], orientation: Orientation, colour: Colour, others: int
) -> str | None:
    """Why only FFmpeg as we drive it can be trusted with a file; None where any decoder must show the same."""
    if container not in _FOR_DECORD:
        return f"times of {container} files are not read right by decord"
    if layout.in_sequence or layout.notes:
        return "time stamps are missing"
    if (order < 0).any():
        return "some pictures are hidden"
    if not orientation.plain:
        return "the picture is turned or mirrored"
    if others:
        return "there are several picture tracks"
    if colour.pixel_format not in ("yuv420p", "yuvj420p"):
        return f"pixels are {colour.pixel_format}"
    return None
