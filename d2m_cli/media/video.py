"""Video in: what a file holds, and its pictures in bounded chunks with their true times.

Files are read in another process (`d2m_cli.media.process`), so that none can take this one down. Which decoder was
used, and why the other was not, is part of what a reader tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError, VideoError
from d2m_cli.ground.options import option
from d2m_cli.media.container import check_file
from d2m_cli.media.messages import pack, unpack
from d2m_cli.media.passage import WHOLE, Passage
from d2m_cli.media.pictures import NOT_INSTALLED, in_chunks
from d2m_cli.media.process import SEPARATE, BrokenError, media_process
from d2m_cli.media.timeline import Timeline, silent
from d2m_cli.media.timeline_reading import read_timeline

DECODERS = ("auto", "decord", "pyav")


@dataclass(frozen=True, repr=False)
class FrameChunk:
    """Some consecutive frames.

    Attributes
    ----------
    frames
        (n, h, w, 3) uint8 RGB, as displayed, scaled to the reader's size.
    times
        (n,) float64 seconds from time zero of the timeline.
    start
        Number of the first of them among all frames that come out.
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    start: int

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or len(self.frames) != len(self.times):
            raise ValueError(f"{self.frames.shape} frames do not fit {self.times.shape} times")

    def __repr__(self) -> str:
        return f"FrameChunk(start={self.start}, frames={self.frames.shape})"


def probe(path: Path, passage: Passage = WHOLE) -> Timeline:
    """Read the timeline of a video, or of a passage of it: its packets, and its first picture.

    Raises
    ------
    VideoError
        The file is missing, empty, not a video, or damaged beyond use; the passage does not lie in it.
    """
    path = Path(path)
    check_file(path)
    if not SEPARATE:
        return passage.of(read_timeline(path))
    with media_process() as process:
        process.request(path, {"do": "timeline"})
        message, blobs = process.answer(path)
    return passage.of(unpack({**message["timeline"], "path": path}, blobs))


def fit_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Size (width, height) in pixels whose longer side is at most `longest`, never larger than the picture.

    Both sides are even, which is what the scalers of both decoders like best.
    """
    scale = min(1.0, longest / max(width, height))
    if scale == 1.0:
        return width, height
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


class VideoReader:
    """The frames of one video, a chunk at a time.

    Parameters
    ----------
    path
        The video.
    longest
        Longer side of the frames in pixels; None keeps the displayed size. Frames are scaled while they are decoded.
    chunk
        Largest number of frames held at a time.
    decoder
        "auto" (decord where it can be trusted, else PyAV), "decord" or "pyav".
    timeline
        From `probe`, where it is known already.

    Attributes
    ----------
    info
        The timeline.
    size
        (width, height) of the frames that come out.
    decoder
        The decoder in use, with the reason where decord was passed over or given up on the way.

    Raises
    ------
    VideoError
        The file can't be decoded.
    UsageError
        A decoder was asked for by name and is not installed.
    """

    def __init__(
        self,
        path: Path,
        longest: int | None = None,
        chunk: int = 32,
        decoder: str = "auto",
        timeline: Timeline | None = None,
    ) -> None:
        if chunk < 1:
            raise ValueError(f"a chunk holds at least 1 frame, not {chunk}")
        if decoder not in DECODERS:
            raise UsageError(f"{option('decoder')} must be one of {', '.join(DECODERS)}, not {decoder!r}")
        self.path = Path(path)
        self.info = timeline or probe(self.path)
        longest = longest or max(self.info.width, self.info.height)
        self.size = fit_size(self.info.width, self.info.height, longest)
        self._chunk = chunk
        self._asked = decoder
        self._decord = False
        self._came: NDArray[np.int64] | None = None
        self.decoder = self._choose()

    def _choose(self) -> str:
        """Try decord if it is wanted; returns the name to report."""
        if self._asked == "pyav":
            return "pyav"
        doubt = self.info.plain or self._doubt_of_decord()
        self._decord = doubt is None
        return "decord" if doubt is None else self._without_decord(doubt)

    def _without_decord(self, doubt: str) -> str:
        self._decord = False
        if self._asked == "decord":
            if doubt == NOT_INSTALLED:
                raise UsageError(f"decord is not installed here; install it or use {option('decoder', 'pyav')}")
            raise VideoError(
                f"{self.path}: decord can't be trusted with it ({doubt}); use {option('decoder', 'pyav')} or auto"
            )
        return f"pyav ({doubt})"

    def _doubt_of_decord(self) -> str | None:
        if not SEPARATE:
            return "decord is used in a process of its own alone"
        timeline, blobs = pack(self.info)
        try:
            with media_process() as process:
                process.request(self.path, {"do": "check decord", "timeline": timeline, "size": self.size}, blobs)
                return process.answer(self.path)[0].get("doubt")
        except BrokenError as error:
            return f"decord failed: {_reason(self.path, error)}"

    def __iter__(self) -> Iterator[FrameChunk]:
        """Yield all frames in order; can be repeated.

        Raises
        ------
        VideoError
            A part of the film is missing or can't be decoded.
        """
        came: list[NDArray[np.int64]] = []
        count, after = 0, -1
        while True:
            try:
                for ranks, frames in self._pictures(after):
                    after = int(ranks[-1])
                    came.append(ranks)
                    yield FrameChunk(frames, self.info.times[ranks], count)
                    count += len(ranks)
                break
            except _GiveUpDecordError as error:
                self.decoder = self._without_decord(str(error))
        numbers = np.concatenate(came)
        # Damage may read otherwise by the other decoder, and what goes by the frames' numbers would be a frame off.
        if self._came is not None and not np.array_equal(numbers, self._came):
            raise VideoError(
                f"{self.path}: does not read twice alike; it is damaged, use {option('decoder', 'pyav')} or convert it"
            )
        self._came = numbers

    def _pictures(self, after: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        if not SEPARATE:
            for numbers, frames in in_chunks(self.info, self.size, self._chunk, after, None, silent):
                yield numbers, np.stack(list(frames))
            return
        width, height = self.size
        timeline, blobs = pack(self.info)
        length = 2 * self._chunk * width * height * 3
        request = {
            "do": "pictures",
            "timeline": timeline,
            "size": self.size,
            "chunk": self._chunk,
            "after": after,
            "decord": self._decord,
        }
        try:
            with media_process() as process:
                memory, handle = process.shared(length)
                try:
                    process.request(self.path, request, blobs, handle)
                finally:
                    if handle is not None:
                        os.close(handle)
                while True:
                    answer, arrays = process.answer(self.path)
                    if "end" in answer:
                        return
                    if "doubt" in answer:
                        raise _GiveUpDecordError(answer["doubt"])
                    ranks = np.frombuffer(arrays[0], np.int64)
                    shape = (len(ranks), height, width, 3)
                    offset = answer["half"] * (length // 2)
                    frames = np.frombuffer(memory, np.uint8, int(np.prod(shape)), offset).reshape(shape).copy()
                    process.taken()
                    yield ranks, frames
        except BrokenError as error:
            if self._decord:
                raise _GiveUpDecordError(f"decord failed: {_reason(self.path, error)}") from None
            raise


def _reason(path: Path, error: BrokenError) -> str:
    return str(error).removeprefix(f"{path}: ").partition("; ")[0]


class _GiveUpDecordError(VideoError):
    """PyAV is to go on from where decord stopped."""
