"""The pictures of a video, decoded in this process; `d2m_cli.media.video` has it done in another.

Two decoders do the work. PyAV (FFmpeg) is the reference: every packet is numbered before it is decoded, so that each
picture that comes out tells which one it is, whatever was lost on the way. decord is used for plain files, and only
where its count, its time stamps, its first picture and a picture in the middle agree with that.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import VideoError
from d2m_cli.ground.cores import cores
from d2m_cli.media.container import explained, first_line, open_media, refuse_want_of_memory
from d2m_cli.media.decoded import decoded
from d2m_cli.media.packets import may_miss
from d2m_cli.media.timeline import Tell, Timeline

ALIKE = 3.0
"""Mean difference of values (0 to 255) up to which two decoders show the same picture."""
SAME_TIME = 0.001
"""Seconds by which their time stamps may differ."""

NOT_INSTALLED = "decord is not installed"

Picture = NDArray[np.uint8]


class DoubtError(Exception):
    """decord does not take a file, or does not show what the timeline says; the text says why."""


def pyav_pictures(
    timeline: Timeline, size: tuple[int, int], tell: Tell, after: int = -1
) -> Iterator[tuple[int, Picture]]:
    """Number and picture (h, w, 3), turned for display, of all pictures with a number above `after`.

    What can't be decoded is passed over, as players do.

    Parameters
    ----------
    timeline
        Of the video.
    size
        (width, height) of the pictures that come out.
    tell
        Told how many packets were decoded.
    after
        Number of the last picture that is known already.

    Raises
    ------
    VideoError
        The file can't be opened or read any more.
    """
    import av

    width, height = timeline.orientation.size(*size)
    try:
        with open_media(timeline.path) as container:
            for one in decoded(container, timeline, tell):
                if one.number > after:
                    yield one.number, timeline.orientation.apply(_scaled(one.frame, width, height))
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        refuse_want_of_memory(error)
        raise explained(timeline.path, error) from error


def _scaled(frame: Any, width: int, height: int) -> Picture:
    # Left to itself each scaler starts a thread for every core, and pictures come out of a decoder by the dozen.
    stored: Picture = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC", threads=1)
    return stored


class DecordPictures:
    """decord on one file, checked against the timeline.

    Parameters
    ----------
    timeline, size
        As for `pyav_pictures`.

    Raises
    ------
    DoubtError
        decord is not installed, can't read the file, or shows something else.
    """

    def __init__(self, timeline: Timeline, size: tuple[int, int], tell: Tell) -> None:
        if timeline.plain is not None:
            raise DoubtError(timeline.plain)
        if importlib.util.find_spec("decord") is None:
            raise DoubtError(NOT_INSTALLED)
        self._size = size
        try:
            self._reader = self._open(timeline)
            stamps = self._reader.get_frame_timestamp(np.arange(len(self._reader)))[:, 0].astype(np.float64)
        except DoubtError:
            raise
        except Exception as error:  # decord raises DECORDError, RuntimeError and others for what it can't read
            raise DoubtError(f"decord refused {timeline.codec} in {timeline.container}: {first_line(error)}") from error
        late = np.abs((stamps - stamps[0]) - (timeline.times - timeline.times[0])).max()
        if late > SAME_TIME:
            raise DoubtError(f"decord dates pictures {1000 * late:.0f} ms off")
        for rank, picture in _samples(timeline, size, tell):
            difference = np.abs(self._picture(rank).astype(np.int16) - picture).mean()
            if difference > ALIKE:
                raise DoubtError(f"decord shows another picture at {timeline.times[rank]:.2f} s")

    def _open(self, timeline: Timeline) -> Any:
        decord = importlib.import_module("decord")
        decord.logging.set_level(decord.logging.QUIET)
        width, height = self._size
        path = os.path.abspath(timeline.path)
        reader = decord.VideoReader(path, ctx=decord.cpu(0), width=width, height=height, num_threads=cores())
        if len(reader) != timeline.frames:
            raise DoubtError(f"decord counts {len(reader)} pictures of {timeline.frames}")
        return reader

    def _picture(self, rank: int) -> Picture:
        try:
            picture: Picture = self._reader[rank].asnumpy()
        except Exception as error:
            raise DoubtError(f"decord can't decode picture {rank + 1}: {first_line(error)}") from error
        if picture.shape != (self._size[1], self._size[0], 3):
            raise DoubtError(f"decord's pictures come out as {picture.shape}")
        return picture

    def batch(self, start: int, stop: int) -> Picture:
        """Pictures from `start` up to `stop`, (n, h, w, 3).

        Raises
        ------
        DoubtError
            decord can't decode them.
        """
        try:
            pictures: Picture = self._reader.get_batch(range(start, stop)).asnumpy()
        except Exception as error:
            raise DoubtError(f"decord failed after picture {start}: {first_line(error)}") from error
        return pictures


def _samples(timeline: Timeline, size: tuple[int, int], tell: Tell) -> Iterator[tuple[int, Picture]]:
    """The first picture as PyAV decodes it, and the one on which a seek to the middle lands."""
    first = next(pyav_pictures(timeline, size, tell), None)
    if first is None:
        raise DoubtError("no picture can be decoded")
    yield first
    import av

    middle = timeline.zero + round(timeline.times[timeline.frames // 2] / float(timeline.time_base))
    try:
        with open_media(timeline.path) as container:
            stream = container.streams[timeline.stream]
            container.seek(middle, stream=stream)
            frame = next(container.decode(stream), None)
            if frame is None or frame.pts is None:
                return
            time = float((frame.pts - timeline.zero) * timeline.time_base)
            rank = int(np.abs(timeline.times - time).argmin())
            if rank == first[0] or abs(timeline.times[rank] - time) > SAME_TIME:
                return
            yield rank, _scaled(frame, *size)
    except (av.error.FFmpegError, IndexError, ValueError, OSError):
        # Some files can't be sought in; decord then only goes through them in order, as PyAV does.
        return


def in_chunks(
    timeline: Timeline, size: tuple[int, int], chunk: int, after: int, decoder: DecordPictures | None, tell: Tell
) -> Iterator[tuple[NDArray[np.int64], list[Picture] | Picture]]:
    """Numbers (n,) and pictures of at most `chunk` consecutive pictures at a time, in order.

    Raises
    ------
    DoubtError
        decord failed on the way.
    VideoError
        A part of the film is missing, or it can't be read any more.
    """
    if decoder is not None:
        for start in range(after + 1, timeline.frames, chunk):
            stop = min(start + chunk, timeline.frames)
            yield np.arange(start, stop), decoder.batch(start, stop)
        return
    ranks: list[int] = []
    pictures: list[Picture] = []
    last = after
    for rank, picture in pyav_pictures(timeline, size, tell, after):
        check_gap(timeline, last, rank)
        last = rank
        ranks.append(rank)
        pictures.append(picture)
        if len(ranks) == chunk:
            yield np.array(ranks), pictures
            ranks, pictures = [], []
    if pictures:
        yield np.array(ranks), pictures
    check_gap(timeline, last, timeline.frames)


def check_gap(timeline: Timeline, last: int, following: int) -> None:
    """Raise VideoError where too much of the film is missing between two pictures that were decoded.

    Parameters
    ----------
    last, following
        Their numbers; -1 before the first, `timeline.frames` after the last.
    """
    if following - last < 2:
        return
    times = np.append(timeline.times, timeline.duration)
    begin, end = float(times[last + 1]), float(times[following])
    if last < 0 and following == timeline.frames:
        raise VideoError(f"{timeline.path}: no frame could be decoded; is it a complete video?")
    if end - begin > may_miss(timeline.duration):
        where = "ends" if following == timeline.frames else "breaks off"
        raise VideoError(
            f"{timeline.path}: its picture {where} at {begin:.1f} s of {timeline.duration:.1f} s; the file is damaged, "
            "copy it again or cut it there"
        )
