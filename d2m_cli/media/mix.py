"""The own sound of a video under music, for the films that are made of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from d2m_cli.media.audio import Samples, film_sound, fit_length, resample
from d2m_cli.media.loudness import Level, bring_to, integrated_loudness
from d2m_cli.media.timeline import Timeline

HIGHEST_RATE = 48000
"""Hz to which music is raised at most for sound of a higher rate."""

NO_SOUND = "the video has no sound to mix in"
SILENT = "the video's own sound is silent, or too short to have a loudness: it is not mixed in"


@dataclass(frozen=True, repr=False, eq=False)
class Mix:
    """What a film is to sound like.

    Attributes
    ----------
    samples
        (channels, n) float32, as long as the music.
    rate
        In Hz.
    note
        What was mixed, in words.
    level
        How loud it is; None where nothing was mixed in.
    """

    samples: Samples
    rate: int
    note: str
    level: Level | None


def mix_under(music: Samples, rate: int, timeline: Timeline, level: float, loudness: float) -> Mix:
    """Put the own sound of a video under music.

    Its integrated loudness is brought to a distance from that of the music by one gain, and the sum to a loudness by
    another. Both are heard at the higher of their rates, and in stereo where one is.

    Parameters
    ----------
    music
        (1 or 2, n) float32 from the video's time zero on.
    rate
        In Hz.
    timeline
        Of the video.
    level
        By how many LU the own sound lies above the music; below 0 it lies under it.
    loudness
        LUFS of the sum; less where its true peak would pass -1 dBTP.

    Raises
    ------
    AudioError
        The video's sound can't be decoded.
    """
    found = film_sound(timeline)
    if found is None:
        return Mix(music, rate, NO_SOUND, None)
    own, own_rate = found
    loud, reference = integrated_loudness(own, own_rate), integrated_loudness(music, rate)
    if loud is None:
        return Mix(music, rate, SILENT, None)
    gain = (loudness if reference is None else reference) + level - loud
    shared = max(rate, min(own_rate, HIGHEST_RATE))
    parts = [resample(one, hz, shared) if hz != shared else one for one, hz in ((music, rate), (own, own_rate))]
    length = round(music.shape[1] * shared / rate)
    # A mono part is heard from both sides.
    both = np.zeros((max(len(part) for part in parts), length), np.float32)
    both += fit_length(parts[0], length)
    both += fit_length(parts[1], length) * np.float32(10.0 ** (gain / 20.0))
    mixed, reached = bring_to(both, shared, loudness, out=both)
    side = "above" if level > 0 else "under"
    note = f"the video's own sound lies {abs(level):g} LU {side} the music"
    if reached.loudness is not None and reached.true_peak is not None:
        note += f"; both together have {reached.loudness:.1f} LUFS, and a true peak of {reached.true_peak:.1f} dBTP"
    return Mix(mixed, shared, note, reached)
