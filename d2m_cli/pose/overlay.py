"""A preview: the video with the skeletons drawn in, for the eye to judge the poses by."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import OutputError, ResultError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.options import option
from d2m_cli.media.container import first_line
from d2m_cli.media.film import writing
from d2m_cli.media.timeline import Timeline
from d2m_cli.media.video import VideoReader
from d2m_cli.pose.track import COCO_BONES, Poses

LONGEST = 1280
CONFIDENT = 0.3
NEAR = 0.1
"""Seconds from a picture to the pose that is drawn into it: not each need have one of its own."""
CODECS = ("libx264", "h264", "mpeg4")
"""Encoders in the order they are tried."""

COLOURS = ((80, 220, 100), (250, 170, 40), (80, 160, 250), (240, 90, 160), (170, 120, 250), (90, 220, 220))
TICKS = 90_000
"""Time stamps a second."""


def write_overlay(
    video: Path, poses: Poses, target: Path, decoder: str = "auto", timeline: Timeline | None = None
) -> str:
    """Draw the skeletons into a copy of the video, without sound; returns the name of the encoder.

    Raises
    ------
    VideoError
        The video can't be decoded.
    OutputError
        The preview can't be written.
    """
    import av

    reader = VideoReader(video, LONGEST, 16, decoder, timeline)
    size = (reader.size[0] // 2 * 2, reader.size[1] // 2 * 2)
    scale = np.array(reader.size) / [reader.info.width, reader.info.height]
    codec = _encoder()
    last = -1
    try:
        with atomic_path(target) as part, av.open(str(part), "w", format="mp4") as container:
            stream: Any = container.add_stream(codec, rate=max(1, round(reader.info.fps)))
            stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS)
            for chunk in reader:
                for index, picture in enumerate(chunk.frames):
                    drawn = draw(picture, poses, float(chunk.times[index]), scale)[: size[1], : size[0]]
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")
                    last = max(last + 1, round(float(chunk.times[index]) * TICKS))
                    frame.pts, frame.time_base = last, Fraction(1, TICKS)
                    with writing(part):
                        container.mux(stream.encode(frame))
            with writing(part):
                container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise ResultError(
            f"{target}: the preview can't be written ({first_line(error)}); leave out {option('overlay', True)}"
        ) from error
    return codec


def draw(picture: NDArray[np.uint8], poses: Poses, time: float, scale: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The picture (h, w, 3) with the skeletons at a time in seconds; `scale` is picture pixels per displayed pixel."""
    drawn = picture.copy()
    width = max(1, round(max(picture.shape[:2]) / 320))
    for track in poses.tracks:
        frame = int(np.searchsorted((track.times[1:] + track.times[:-1]) / 2, time))
        if not len(track.times) or abs(track.times[frame] - time) > NEAR:
            continue
        colour = COLOURS[track.person % len(COLOURS)]
        points = np.round((track.keypoints[frame, :, :2] + 0.5) * scale - 0.5).astype(int)
        seen = track.keypoints[frame, :, 2] >= CONFIDENT
        for first, second in COCO_BONES:
            if seen[first] and seen[second]:
                ends = [tuple(int(value) for value in points[joint]) for joint in (first, second)]
                cv2.line(drawn, ends[0], ends[1], colour, width, cv2.LINE_AA)
        for joint in np.flatnonzero(seen):
            cv2.circle(drawn, tuple(int(value) for value in points[joint]), width + 1, colour, -1, cv2.LINE_AA)
    return drawn


def _encoder() -> str:
    import av

    for name in CODECS:
        try:
            av.CodecContext.create(name, "w")
        except (av.error.FFmpegError, ValueError):
            continue
        return name
    raise OutputError(f"PyAV has no encoder for the preview here; leave out {option('overlay', True)}")
