"""Change the time axis of music: attacks are copied as they are, and what lies between them is stretched.

A phase vocoder smears whatever begins suddenly over its block, so it never gets to see an attack: passages between two
attacks are stretched each on its own, with their own reflection as surroundings, and joined to the copies by short
cross-fades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.generation.stitch import correlation, fade_curves
from d2m_cli.ground.compiled import librosa_with
from d2m_cli.ground.mel import Mel
from d2m_cli.ground.strip import Strip

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

BEFORE, AFTER = 0.012, 0.05
"""Seconds before and after the beginning of an attack that are copied at rate 1."""
SHORTEST_RUN = 0.04
"""Seconds between two attacks below which they are copied together."""
FADE = 0.006
"""Half the length in seconds of a cross-fade; it ends before the attack begins."""
CONTEXT = 0.09
"""Seconds of surroundings that a stretched passage is given on each side."""
FRAMES_PER_SECOND = 100
BLOCK = 512
"""Samples at 22.05 kHz of the short spectra in which attacks are looked for."""
BANDS = 32
ATTACK = 0.15
"""Share of the strongest rise from which an attack counts."""


@dataclass(frozen=True, repr=False)
class TimeMap:
    """A rising piecewise linear map between the time of some music and the time at which it shall be heard.

    Attributes
    ----------
    source, target
        (k,) seconds, k >= 2, both rising. Before the first and behind the last point time runs at rate 1.
    """

    source: Array
    target: Array

    def __post_init__(self) -> None:
        if self.source.shape != self.target.shape or self.source.ndim != 1 or len(self.source) < 2:
            raise ValueError(f"{self.source.shape} and {self.target.shape} points are no map")
        if np.any(np.diff(self.source) <= 0) or np.any(np.diff(self.target) <= 0):
            raise ValueError("both sides of a map must rise")

    def to_target(self, times: Array) -> Array:
        """When moments of the music are heard."""
        return _interpolate(times, self.source, self.target)

    def to_source(self, times: Array) -> Array:
        """What moments of the music are heard at some times."""
        return _interpolate(times, self.target, self.source)

    @property
    def rates(self) -> Array:
        """(k - 1,) seconds of music per second heard."""
        rates: Array = np.diff(self.source) / np.diff(self.target)
        return rates


def _interpolate(times: Array, known: Array, wanted: Array) -> Array:
    before, behind = wanted[0] + times - known[0], wanted[-1] + times - known[-1]
    inside = np.interp(times, known, wanted)
    found: Array = np.where(times < known[0], before, np.where(times > known[-1], behind, inside))
    return found


def attacks(samples: Samples, rate: int) -> Array:
    """Zones that must not be stretched, (z, 2) seconds: from shortly before each percussive onset to behind it.

    Parameters
    ----------
    samples
        (channels, n) audio.
    rate
        Hz.
    """
    librosa = librosa_with()

    hop = round(rate / FRAMES_PER_SECOND)
    size = 2 ** round(np.log2(BLOCK * rate / 22050))
    if samples.shape[1] < size or not np.any(samples):
        return np.zeros((0, 2))
    # The root instead of the logarithm: what is faint rises steeply in dB, and nobody hears it.
    mel = Mel(samples, rate, size, hop, BANDS)
    rise = np.empty(mel.count, np.float32)
    for first, power in mel:
        loudness = np.sqrt(power)
        if first == 0:
            rise[0] = loudness[:, 0].sum()
        rise[first + 1 : first + power.shape[1]] = np.maximum(np.diff(loudness, axis=1), 0.0).sum(axis=0)
    frames = librosa.util.peak_pick(
        rise, pre_max=3, post_max=3, pre_avg=10, post_avg=10, delta=float(ATTACK * rise.max()), wait=3
    )
    begins = np.asarray(frames) * hop / rate
    zones = np.stack([begins - BEFORE, begins + AFTER], axis=1)
    return merged(zones, SHORTEST_RUN)


def merged(zones: Array, gap: float) -> Array:
    """Zones in order, (z, 2), those less than a gap apart as one."""
    out: list[list[float]] = []
    for begin, end in zones.tolist():
        if out and begin - out[-1][1] < gap:
            out[-1][1] = max(end, out[-1][1])
        else:
            out.append([begin, end])
    return np.array(out, dtype=np.float64).reshape(-1, 2)


def held_share(zones: Array, times: Array) -> Array:
    """How much of each stretch between neighbouring times lies in zones, which do not overlap: (t - 1,), 0 to 1."""
    if not len(zones):
        return np.zeros(len(times) - 1)
    lengths = zones[:, 1] - zones[:, 0]
    until = np.stack([np.cumsum(lengths) - lengths, np.cumsum(lengths)], axis=1)
    held = np.diff(np.interp(times, zones.ravel(), until.ravel()))
    shares: Array = np.clip(held / np.diff(times), 0.0, 1.0)
    return shares


def spare(time_map: TimeMap, zones: Array) -> TimeMap:
    """The same map at its own points, with rate 1 inside zones and the rest of each stretch bent for it."""
    cuts = [time_map.source]
    cuts += [zones[(zones > time_map.source[0]) & (zones < time_map.source[-1])]]
    source = np.unique(np.concatenate(cuts))
    middle = 0.5 * (source[1:] + source[:-1])
    length = np.diff(source)
    kept = np.zeros(len(length), dtype=bool)
    for begin, end in zones:
        kept |= (middle > begin) & (middle < end)
    stretch = np.clip(np.searchsorted(time_map.source, middle, side="right") - 1, 0, len(time_map.source) - 2)
    count = len(time_map.source) - 1
    held = np.bincount(stretch, length * kept, count)
    free = np.bincount(stretch, length * ~kept, count)
    wanted = np.diff(time_map.target)
    # A stretch that is held as a whole can only be bent as a whole.
    whole = free < 1e-6
    slope = np.where(whole, 1.0, (wanted - held) / np.where(whole, 1.0, free))
    rigid = np.where(whole, wanted / np.maximum(held, 1e-9), 1.0)
    steps = length * np.where(kept, rigid[stretch], slope[stretch])
    return TimeMap(source, time_map.target[0] + np.concatenate([[0.0], np.cumsum(steps)]))


def render(samples: Samples, rate: int, time_map: TimeMap, length: int, *, in_place: bool = False) -> Samples:
    """Play music along a map.

    Parameters
    ----------
    samples
        (channels, n) float32, one or two channels.
    rate
        Hz.
    time_map
        From times in `samples` to times in the result. Stretches of rate 1 are copied.
    length
        Samples of the result, from time 0 on.
    in_place
        Whether the result may take the memory of `samples`, which are lost then.

    Returns
    -------
    (channels, length) float32; silence where the music has not begun or is over.
    """
    fade = round(FADE * rate)
    strip = Strip(len(samples))
    # What was laid last, up to `fade` behind its run, before it is rounded.
    begin, ending = 0, np.zeros((len(samples), 3 * fade))
    for left, right, shift, factor in _runs(time_map, length / rate):
        end = min(round(right * rate), length)
        if end <= begin:
            continue
        lead = fade if begin >= fade else 0
        if factor == 1.0:
            piece = _copied(samples, round(shift * rate) + begin - lead, end - begin + lead + fade)
        else:
            piece = _stretched(samples, rate, left, right, shift, factor, begin - lead, end + fade)
        # The last piece ends `fade` behind its run, and this one begins `fade` before its own.
        cut = ending.shape[1] - fade - lead
        seam, head = ending[:, cut : cut + 2 * lead], piece[:, : 2 * lead].astype(np.float64)
        falling, rising = fade_curves(2 * lead, correlation(seam, head))
        faded = seam * falling + head * rising
        strip.lay(begin - lead, faded)
        strip.lay(begin + lead, piece[:, 2 * lead :])
        behind = piece[:, max(2 * lead, piece.shape[1] - 3 * fade) :]
        ending = np.concatenate([ending[:, :cut], faded, behind], axis=1)[:, -3 * fade :]
        begin = end
    memory = samples.reshape(-1) if in_place else np.empty(0, np.float32)
    size = len(samples) * length
    out = (memory[:size] if len(memory) >= size else np.empty(size, np.float32)).reshape(len(samples), length)
    strip.take(out)
    return out


def _runs(time_map: TimeMap, seconds: float) -> list[tuple[float, float, float, float]]:
    """(from, to, source minus target at its start, rate) in target time, from 0 to the end, equal rates together."""
    edges = np.concatenate([[-np.inf], time_map.target, [np.inf]])
    rates = np.concatenate([[1.0], time_map.rates, [1.0]])
    runs: list[tuple[float, float, float, float]] = []
    for left, right, speed in zip(edges[:-1], edges[1:], rates, strict=True):
        left, right = max(left, 0.0), min(right, seconds)
        if right <= left:
            continue
        factor = 1.0 if abs(speed - 1.0) < 1e-4 else float(speed)
        shift = float(time_map.to_source(np.array([left]))[0]) - left
        if runs and runs[-1][3] == factor and abs(runs[-1][2] - shift) < 1e-4 and factor == 1.0:
            runs[-1] = (runs[-1][0], right, runs[-1][2], factor)
        else:
            runs.append((left, right, shift, factor))
    return runs


def _copied(samples: Samples, first: int, count: int) -> Samples:
    """Samples from a place on that may lie outside, silence there."""
    if 0 <= first <= samples.shape[1] - count:
        return samples[:, first : first + count]
    out = np.zeros((len(samples), count), samples.dtype)
    begin, end = max(first, 0), min(first + count, samples.shape[1])
    if end > begin:
        out[:, begin - first : end - first] = samples[:, begin:end]
    return out


def _stretched(
    samples: Samples, rate: int, left: float, right: float, shift: float, factor: float, first: int, end: int
) -> Samples:
    """The passage heard from `left` to `right`, from sample `first` to `end` of the result."""
    from python_stretch.Signalsmith import Stretch

    fade = round(FADE * rate)
    begin = round((left + shift) * rate) - fade
    passage = _copied(samples, begin, round((right - left) * factor * rate) + 2 * fade)
    around = round(CONTEXT * rate)
    # Reflections instead of the true surroundings: an attack there would be smeared into the passage.
    given = np.pad(passage, ((0, 0), (around, around)), mode="symmetric" if passage.shape[1] < around else "reflect")
    stretcher = Stretch(0)
    stretcher.preset(len(samples), rate)
    stretcher.setTimeFactor(factor)
    made = np.asarray(stretcher.process(np.ascontiguousarray(given, dtype=np.float32)), dtype=np.float32)
    # Sample `begin - around` of the music is sample 0 of what was given.
    zero = round(left * rate) - round((fade + around) / factor)
    return _copied(made, first - zero, end - first)
