"""How long dances and music are, from headers alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from d2m_cli.errors import AudioError, InputError
from d2m_cli.media.video import probe
from d2m_cli.pose.io import SUFFIX as POSE_SUFFIX
from d2m_cli.pose.io import load_poses
from d2m_cli.pose.track import LONGEST_SECONDS
from d2m_cli.rhythm.io import SUFFIX as RHYTHM_SUFFIX
from d2m_cli.rhythm.io import load_rhythm
from d2m_cli.training.aist import probe_keypoints

KEYPOINTS_SUFFIX = ".pkl"


def dance_seconds(path: Path, view: int | None = None) -> float:
    """Length of a dance in seconds: video, ``.pose.npz``, ``.rhythm.json`` or AIST++ keypoints.

    Parameters
    ----------
    path
        The file; anything of an unknown suffix is taken for a video.
    view
        Camera row that must be there, for AIST++ keypoints.

    Raises
    ------
    InputError
        The file is missing, is not what its name says, or tells a length that can't be true.
    """
    seconds = _told_seconds(path, view)
    if not 0.0 <= seconds <= LONGEST_SECONDS:
        raise InputError(f"{path}: says that it lasts {seconds:g} s; a dance lasts 24 hours at most")
    return seconds


def _told_seconds(path: Path, view: int | None) -> float:
    if path.name.endswith(POSE_SUFFIX):
        return load_poses(path).duration
    if path.name.endswith(RHYTHM_SUFFIX):
        return load_rhythm(path).duration
    if path.suffix == KEYPOINTS_SUFFIX:
        return probe_keypoints(path, view or 0).seconds
    return probe(path).duration


def sound_seconds(path: Path) -> float:
    """Length of the sound of a file in seconds, from the time 0 of `d2m_cli.media.audio.load_audio`.

    Raises
    ------
    AudioError
        The file is missing, holds no sound, or does not say a length that can be true.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    seconds = _soundfile_seconds(path)
    seconds = _pyav_seconds(path) if seconds is None else seconds
    if not seconds > 0.0:
        raise AudioError(f"{path}: its sound has no length; is it a complete file?")
    if seconds > LONGEST_SECONDS:
        raise AudioError(f"{path}: says that its sound lasts {seconds:g} s; more than 24 hours are not read")
    return seconds


def _soundfile_seconds(path: Path) -> float | None:
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, UnicodeEncodeError):
        return None
    return float(info.frames) / float(info.samplerate) if info.samplerate > 0 else None


def _pyav_seconds(path: Path) -> float:
    import av

    try:
        # An absolute path can't be mistaken for a protocol or an option.
        with av.open(os.path.abspath(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: holds no sound")
            return _stream_seconds(container, container.streams.audio[0])
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise AudioError(f"{path}: its sound can't be read; copy it again or convert it to .wav") from error


def _stream_seconds(container: Any, stream: Any) -> float:
    if stream.duration is None:
        return float(container.duration or 0) / 1e6
    first = float((stream.start_time or 0) * stream.time_base) - float(container.start_time or 0) / 1e6
    return max(first, 0.0) + float(stream.duration * stream.time_base)
