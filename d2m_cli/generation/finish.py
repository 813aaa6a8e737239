"""From joined windows to a whole piece: where it pauses, how it ends, and how loud it is."""

from __future__ import annotations

from collections.abc import Sequence
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
STOP_SECONDS = 0.15
"""In which music dies away where a break begins."""
BACK_SECONDS = 0.1
"""By so much a beat may come before a dancer is seen to move on, and still be the one on which a break ends."""
SILENT_DB = 60.0
"""By so much a hit has died away when it ends."""


BLOCK = 1 << 18
"""Samples that are worked on at a time."""

Break = tuple[float, float]
Gains = tuple[tuple[int, Array], ...]
"""Number of a sample, and gains from it on; all that hold for a sample are multiplied, and elsewhere it is 1."""


def finish(
    samples: Samples,
    rate: int,
    beats: Array,
    ending: Ending,
    loudness: float,
    breaks: Sequence[Break] = (),
    out: Samples | None = None,
) -> tuple[Samples, Level]:
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
    breaks
        From `breaks_in`.
    out
        Memory for the result, which may be that of `samples`; None takes new.

    Returns
    -------
    Samples of the same shape, and how loud they are.
    """
    length = samples.shape[1]
    middle = samples.mean(axis=1, keepdims=True, dtype=np.float64)
    gains = envelope(length, rate, beats, ending) + pauses(length, rate, breaks)
    made = np.empty_like(samples, order="C") if out is None else out
    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, length)
        made[:, first:last] = (samples[:, first:last] - middle) * gain_of(gains, first, last)
    return bring_to(made, rate, loudness, out=made)


def gain_of(gains: Gains, first: int, last: int) -> Array:
    """The gain of each sample from one to before another, (last - first,); 1 where nothing is said."""
    gain = np.ones(last - first)
    for start, values in gains:
        begin, end = max(start, first), min(start + len(values), last)
        if end > begin:
            gain[begin - first : end - first] *= values[begin - start : end - start]
    return gain


def envelope(length: int, rate: int, beats: Array, ending: Ending) -> Gains:
    """Ramps of 10 ms at both ends, and the ending."""
    edge = min(round(EDGE_SECONDS * rate), length // 2)
    ramp = np.sin((np.arange(edge) + 0.5) / max(edge, 1) * np.pi / 2) ** 2
    gains = [(0, ramp), (length - edge, ramp[::-1])]
    if ending == "fade":
        start = min(max(round(fade_start(length / rate, beats) * rate), 0), length)
        gains.append((start, np.cos((np.arange(length - start) + 0.5) / (length - start) * np.pi / 2)))
    elif ending == "hit" and (hit := last_hit(length / rate, beats)) is not None:
        start = round(hit * rate)
        following = beats[beats > hit]
        # Dead before the next beat, which would be heard as a second hit.
        longest = min(LONGEST_HIT, float(following[0]) - hit - EDGE_SECONDS if len(following) else LONGEST_HIT)
        ringing = min(length - start, round(longest * rate))
        gain = np.zeros(length - start)
        gain[:ringing] = 10.0 ** (-SILENT_DB / 20.0 * np.arange(ringing) / ringing)
        gains.append((start, gain))
    return tuple(gains)


def breaks_in(holds: Sequence[tuple[float, float]], beats: Array, seconds: float) -> tuple[Break, ...]:
    """Where the music breaks off and comes in again, in seconds, for the holds of a dance.

    It stops with the dancer, and comes in on the first beat from when the dancer moves on; without beats, right then.
    """
    breaks: list[Break] = []
    for start, end in holds:
        following = beats[beats >= end - BACK_SECONDS]
        back = min(float(following[0]) if len(following) else end, seconds)
        if not breaks or start > breaks[-1][1]:
            breaks.append((start, back))
    return tuple(breaks)


def pauses(length: int, rate: int, breaks: Sequence[Break]) -> Gains:
    """Silence in breaks, soft at their beginning, with a ramp of 10 ms at their end."""
    gains = []
    for start, back in breaks:
        first, last = round(start * rate), min(round(back * rate), length)
        dying = min(round(STOP_SECONDS * rate), last - first)
        gain = np.zeros(last - first)
        gain[:dying] = np.cos((np.arange(dying) + 0.5) / dying * np.pi / 2)
        ramp = min(round(EDGE_SECONDS * rate), last - first - dying)
        if last < length and ramp > 0:
            gain[len(gain) - ramp :] = np.sin((np.arange(ramp) + 0.5) / ramp * np.pi / 2) ** 2
        gains.append((first, gain))
    return tuple(gains)


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
