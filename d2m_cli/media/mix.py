"""The own sound of a video under music, for the films that are made of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from d2m_cli.ground.strip import BLOCK, Strip
from d2m_cli.media.audio import Samples, film_sound, resampled
from d2m_cli.media.loudness import Level, gain_to, integrated_loudness
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
        (channels, n) float32, as long as the music: the music itself, or a mix, which is read as
        ``samples[:, first:last]`` and lies on the disk where it is long.
    rate
        In Hz.
    note
        What was mixed, in words.
    level
        How loud it is; None where nothing was mixed in.
    """

    samples: Samples | Strip
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
    OutputError
        The folder of temporary files has no room for it.
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
    length = round(music.shape[1] * shared / rate)
    channels = max(music.shape[0], own.shape[0])
    mixed = Strip(channels)
    for first, block in _blocks(music, rate, shared):
        # A mono part is heard from both sides.
        mixed.lay(first, np.broadcast_to(block, (channels, block.shape[1])))
    louder = np.float32(10.0 ** (gain / 20.0))
    for first, block in _blocks(own, own_rate, shared):
        heard = block[:, : max(length - first, 0)] * louder
        mixed.lay(first, mixed[:, first : first + heard.shape[1]] + heard)
    factor, reached = gain_to(mixed, shared, loudness)
    for first, block in _blocks(mixed, shared, shared):
        mixed.lay(first, block * np.float32(factor))
    side = "above" if level > 0 else "under"
    note = f"the video's own sound lies {abs(level):g} LU {side} the music"
    if reached.loudness is not None and reached.true_peak is not None:
        note += f"; both together have {reached.loudness:.1f} LUFS, and a true peak of {reached.true_peak:.1f} dBTP"
    return Mix(mixed, shared, note, reached)


def _blocks(samples: Samples | Strip, rate: int, new_rate: int) -> Iterator[tuple[int, Samples]]:
    """Sound at a rate, block by block: number of its first sample, and (channels, n) float32."""
    if rate != new_rate:
        yield from resampled(samples, rate, new_rate)
        return
    for first in range(0, samples.shape[1], BLOCK):
        yield first, samples[:, first : first + BLOCK]
