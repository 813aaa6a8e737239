"""From joined windows to a whole piece: how it ends, and how loud it is."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from d2m_cli.media.loudness import Level, bring_to

Samples = NDArray[np.float32]
Array = NDArray[np.float64]
Ending = Literal["fade", "hit", "none"]

EDGE_SECONDS = 0.01
"""Ramps at both ends, which keep them from clicking."""
FADE_SECONDS = 1.0
"""Shortest fade at the end, but for music of less than four times that."""
HIT_SECONDS, LONGEST_HIT = 0.35, 1.2
"""What a last hit has at least to ring out, and at most."""
SILENT_DB = 60.0
"""By so much a hit has died away when it ends."""


def finish(samples: Samples, rate: int, beats: Array, ending: Ending, loudness: float) -> tuple[Samples, Level]:
    """Make a piece of joined windows: no constant offset, no click at either end, an ending, and one gain.

    Parameters
    ----------
    samples
        (channels, n) float32.
    rate
        In Hz.
    beats
        Seconds, rising, on which the music may end; empty where there are none.
    ending
        As in `GenerateOptions`.
    loudness
        LUFS; see `d2m_cli.media.loudness.bring_to`.

    Returns
    -------
    Samples of the same shape, and how loud they are.
    """
    wide = samples.astype(np.float64)
    wide = wide - wide.mean(axis=1, keepdims=True)
    wide *= envelope(samples.shape[1], rate, beats, ending)
    return bring_to(wide.astype(np.float32), rate, loudness)


def envelope(length: int, rate: int, beats: Array, ending: Ending) -> Array:
    """Gain of each sample, (length,): ramps of 10 ms at both ends, and the ending."""
    gain = np.ones(length)
    edge = min(round(EDGE_SECONDS * rate), length // 2)
    ramp = np.sin((np.arange(edge) + 0.5) / max(edge, 1) * np.pi / 2) ** 2
    if ending == "fade":
        start = min(max(round(fade_start(length / rate, beats) * rate), 0), length)
        gain[start:] = np.cos((np.arange(length - start) + 0.5) / (length - start) * np.pi / 2)
    elif ending == "hit" and (hit := last_hit(length / rate, beats)) is not None:
        start = round(hit * rate)
        following = beats[beats > hit]
        # Dead before the next beat, which would be heard as a second hit.
        longest = min(LONGEST_HIT, float(following[0]) - hit - EDGE_SECONDS if len(following) else LONGEST_HIT)
        ringing = min(length - start, round(longest * rate))
        gain[start:] = 0.0
        gain[start : start + ringing] = 10.0 ** (-SILENT_DB / 20.0 * np.arange(ringing) / ringing)
    gain[:edge] *= ramp
    gain[length - edge :] *= ramp[::-1]
    return gain


def fade_start(seconds: float, beats: Array) -> float:
    """Where the fade begins: on the last beat that leaves it its length, where there is one near enough."""
    fade = min(FADE_SECONDS, seconds / 4)
    latest = seconds - fade
    before = beats[(beats <= latest) & (beats >= latest - fade)]
    return float(before[-1]) if len(before) else latest


def last_hit(seconds: float, beats: Array) -> float | None:
    """The last beat that has time to ring out; None where there is none near the end."""
    able = beats[(beats <= seconds - HIT_SECONDS) & (beats >= seconds - 2 * LONGEST_HIT)]
    return float(able[-1]) if len(able) else None
