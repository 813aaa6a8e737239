"""A track of one's own in place of music from a backbone: its passage that need be bent least, under the dance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from d2m_cli.errors import AudioError
from d2m_cli.generation.alignment import ROUNDING
from d2m_cli.generation.compose import finished, snap_bounds
from d2m_cli.generation.music import Music
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.snap import Snap, land
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.rhythm.sequence import Rhythm


def lay_track(
    track: Path,
    rhythm: Rhythm,
    duration: float,
    options: GenerateOptions,
    report: Report,
    holds: Sequence[tuple[float, float]] = (),
) -> Music:
    """A passage of a track as music for a dance.

    Parameters
    ----------
    track
        A file of sound; of more than two channels the mean is taken.
    rhythm
        Of the whole video.
    duration
        Length of the video in seconds.
    options
        `snap`, `music_start`, and how a piece ends.
    report
        Told where the work is.
    holds
        As in `d2m_cli.generation.compose.compose`.

    Raises
    ------
    AudioError
        The track can't be read, or ends before the video would.
    """
    from d2m_cli.media.audio import load_audio

    report(f"reading {track.name}")
    samples, rate = load_audio(track)
    if len(samples) > 2:
        samples = samples.mean(axis=0, keepdims=True)
    start = options.music_start or 0.0
    length = round(duration * rate)
    lacking = round(start * rate) + length - samples.shape[1]
    if options.music_start is not None and round(start * rate) >= samples.shape[1]:
        raise AudioError(
            f"{track} lasts {samples.shape[1] / rate:.2f} s, so there is no music behind {start:g} s: give an earlier "
            f"{option('music_start')}"
        )
    if 0 < lacking <= ROUNDING * rate:
        samples = np.pad(samples, ((0, 0), (0, lacking)))
    elif lacking > 0:
        behind = f" behind {start:g} s" if start else ""
        raise AudioError(
            f"{track}: {samples.shape[1] / rate - start:.2f} s of music{behind}, and the video lasts {duration:.2f} s: "
            "give a longer track"
        )
    report("laying the track under the dance", 0.2)
    bounds = snap_bounds(rhythm.beats, options)
    done: Snap | None = None
    if bounds is not None:
        samples, done = land(samples, rate, rhythm.beats, duration, bounds, options.music_start)
    else:
        samples = samples[:, round(start * rate) :][:, :length]
    return finished(np.ascontiguousarray(samples), rate, rhythm, duration, options, holds, done)
