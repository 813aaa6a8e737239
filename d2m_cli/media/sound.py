"""The sound of a media file, decoded in this process; `d2m_cli.media.audio` has it done in another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import AudioError
from d2m_cli.media.container import check_file, films_of, first_line, open_media, refuse_want_of_memory
from d2m_cli.media.timeline import LONGEST, Tell
from d2m_cli.media.timeline_reading import read_timeline

GAP = 0.001
"""Seconds by which sound may begin late without silence in front; below what any listener notices."""


def decode_sound(
    path: Path, tell: Tell, *, zero: float | None = None, seconds: float | None = None, stereo: bool = False
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Sample rate in Hz and blocks (channels, n) of the first sound track, from time zero on.

    Time zero of a film is that of its timeline, so that sound which begins later has silence in front, and what comes
    earlier is left out; a file of sound alone begins with its sound.

    Parameters
    ----------
    path
        The file.
    tell
        Told how many samples have come.
    zero
        The container's time in seconds that is time zero of a film, where it is known; else its timeline is read.
    seconds
        How much is decoded at most; None decodes all.
    stereo
        Whether more than two channels are mixed down to two.

    Raises
    ------
    AudioError
        The file holds no sound, or it can't be decoded.
    """
    import av

    check_file(path, AudioError)
    try:
        with open_media(path) as container:
            stream = _sound_stream(path, container)
            film, rate = bool(films_of(container)), int(stream.rate)
            if not film:
                zero = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
            elif zero is None:
                timeline = read_timeline(path, tell)
                zero = float(timeline.zero * timeline.time_base)
            most = None if seconds is None else round(seconds * rate)
            layout = "stereo" if stereo and len(stream.layout.channels) > 2 else stream.layout
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            begun, samples, early = False, 0, 0
            for frame in container.decode(stream):
                if not begun:
                    begun = True
                    late = (frame.time or 0.0) - zero
                    if film and GAP < late < LONGEST:
                        channels = 2 if layout == "stereo" else len(stream.layout.channels)
                        samples = round(late * rate) if most is None else min(round(late * rate), most)
                        yield rate, np.zeros((channels, samples), np.float32)
                    early = round(-late * rate) if film and -LONGEST < late < -GAP else 0
                for block in _planes(resampler, frame):
                    heard = block[:, early:][:, : None if most is None else most - samples]
                    early = max(early - block.shape[1], 0)
                    samples += heard.shape[1]
                    if samples > LONGEST * rate:
                        raise AudioError(f"{path}: its sound lasts over {LONGEST / 3600:.0f} h; cut it into parts")
                    if heard.shape[1]:
                        yield rate, heard
                tell(samples)
                if samples == most:
                    return
            for block in _planes(resampler, None):
                yield rate, block[:, early:][:, : None if most is None else most - samples]
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        refuse_want_of_memory(error)
        raise _undecodable(path, error) from error


def sound_length(path: Path) -> float:
    """Seconds from time zero to the end of the first sound track, as headers have it; 0 where they don't say.

    Raises
    ------
    AudioError
        The file holds no sound, or can't be read.
    """
    import av

    check_file(path, AudioError)
    try:
        with open_media(path) as container:
            stream = _sound_stream(path, container)
            if stream.duration is None:
                return float(container.duration or 0) / av.time_base
            first = float((stream.start_time or 0) * stream.time_base) - float(container.start_time or 0) / av.time_base
            return max(first, 0.0) + float(stream.duration * stream.time_base)
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise _undecodable(path, error) from error


def _sound_stream(path: Path, container: Any) -> Any:
    if not container.streams.audio:
        raise AudioError(f"{path}: holds no sound")
    return container.streams.audio[0]


def _undecodable(path: Path, error: Exception) -> AudioError:
    return AudioError(f"{path}: its sound can't be decoded ({first_line(error)}); copy it again or convert it to .wav")


def _planes(resampler: Any, frame: Any) -> list[NDArray[np.float32]]:
    return [np.asarray(block.to_ndarray(), dtype=np.float32) for block in resampler.resample(frame)]
