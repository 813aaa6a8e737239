"""From poses to rhythm: the one verb of this room."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError
from d2m_cli.ground.nearest import nearest
from d2m_cli.ground.options import option
from d2m_cli.pose.dancers import check_dancers
from d2m_cli.pose.track import Poses, PoseTrack, tracks_of
from d2m_cli.rhythm.beat_map import find_beats
from d2m_cli.rhythm.direction import paper_acceleration, published_acceleration
from d2m_cli.rhythm.peaks import PUBLISHED_RATE, Accents, find_accents, paper_peaks, published_peaks_by_clip
from d2m_cli.rhythm.sequence import BeatMap, Rhythm
from d2m_cli.rhythm.stable import FLOOR_JOINTS, accent_envelope
from d2m_cli.rhythm.tempo import TOLERANCE, estimate_tempo, signed_phase

Array = NDArray[np.float64]
SHARE, SHARE_ON_BEAT, SHARE_BETWEEN = 0.3, 0.15, 0.4
"""How far an accent must stand out, as a share of the strongest around it: at first; then on a beat, and between."""
AT_A_STEP = 0.05
"""Part of a step of the 60 Hz clock by which a frame may miss it and still be taken as it is."""
CLEAR_BEAT = 0.4
"""Confidence from which a beat is trusted to tell faint accents from chance."""
MODES = ("beats", "stable", "paper", "published")


@dataclass(frozen=True)
class RhythmOptions:
    """How to read rhythm off poses.

    Attributes
    ----------
    mode
        "beats" (accents and learned beats), "stable" (accents alone), "paper" (Eq. 4-7 as worded) or "published" (as
        the authors' code computes them).
    sectors
        K of Eq. 5, for mode "paper".
    window
        Window of the local maxima in seconds, for mode "paper".
    rate
        Steps per second of the envelope; mode "published" has a clock of its own, of 60.
    dancers
        "largest", "all", how many at most, or "only:N": see `d2m_cli.pose.dancers`. None takes everybody that the poses
        hold. Modes "beats" and "stable" add dancers up by prominence, and those of "beats" vote on where the beat is;
        the other modes, which know one dancer, take the most prominent of them.

    Raises
    ------
    UsageError
        A value is out of its range; the error names the field.
    """

    mode: str = "beats"
    sectors: int = 10
    window: float = 0.2
    rate: float = 50.0
    dancers: str | int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"{option('mode')} must be one of {', '.join(MODES)}, not {self.mode!r}")
        if self.mode == "published":
            object.__setattr__(self, "rate", PUBLISHED_RATE)
        if self.sectors < 1:
            raise UsageError(f"{option('sectors')} must be at least 1, not {self.sectors}")
        if not 0.0 < self.window < math.inf:
            raise UsageError(f"{option('window')} must be a number of seconds above 0, not {self.window}")
        if not 0.0 < self.rate < math.inf:
            raise UsageError(f"{option('rate')} must be a number above 0, not {self.rate}")
        if self.dancers is not None:
            check_dancers(self.dancers)


def extract_rhythm(poses: Poses, options: RhythmOptions | None = None) -> Rhythm:
    """Rhythm of the dance in one video (Sec. 3.2).

    Parameters
    ----------
    poses
        Dancers and camera motion of one video.
    options
        Mode and its settings.

    Raises
    ------
    NoPersonError
        There is no dancer of the number asked for.
    """
    options = options or RhythmOptions()
    tracks = poses.tracks if options.dancers is None else tracks_of(poses.tracks, options.dancers)
    duration = max([poses.duration, *(float(track.times[-1]) for track in tracks if len(track.times))])
    steps = int(np.ceil(duration * options.rate - 1e-6)) + 1
    if options.mode in ("beats", "stable"):
        envelope, peaks = stable_rhythm(poses, tracks, steps, options.rate)
    else:
        envelope, peaks = raw_rhythm(tracks[0], steps, options)
    top = float(envelope.max(initial=0.0))
    scaled = (envelope / top if top > 0.0 else envelope).astype(np.float32)
    tempo = estimate_tempo(scaled, options.rate, peaks)
    rhythm = Rhythm(scaled, options.rate, peaks, duration, tempo, options.mode)
    return on_beats(rhythm, find_beats(tracks, poses.camera, duration)) if options.mode == "beats" else rhythm


def on_beats(accents: Rhythm, found: BeatMap) -> Rhythm:
    """A rhythm of mode "beats": accents, and the beats found beside them.

    Where a steady beat was seen, its tempo is that of the rhythm, and peaks are the beats, and the half beats near
    which an accent lies. Elsewhere the accents stay, and the beats are the even grid that suits them best, no surer
    than the learned beats are.
    """
    if found.steady:
        tempo = found.seen_from(0.0, accents.duration)
        return replace(accents, peaks=beats_and_halves(found.beats, accents.peaks), tempo=tempo, mapped=found)
    tempo = accents.tempo
    if tempo is None:
        return replace(accents, mapped=BeatMap.none())
    tempo = replace(tempo, confidence=min(tempo.confidence, found.confidence))
    return replace(accents, tempo=tempo, mapped=BeatMap.even(tempo, accents.duration))


def beats_and_halves(beats: Array, accents: Array) -> Array:
    """Beats, and those moments half-way between two of them that an accent marks, (n,) seconds."""
    halves = 0.5 * (beats[1:] + beats[:-1])
    if not len(accents):
        return beats
    marked = np.abs(halves - accents[nearest(halves, accents)]) <= TOLERANCE
    return np.sort(np.concatenate([beats, halves[marked]]))


def stable_rhythm(poses: Poses, tracks: tuple[PoseTrack, ...], steps: int, rate: float) -> tuple[Array, Array]:
    """Envelope on the clock and accents in seconds, of all dancers given."""
    envelopes = [accent_envelope(track, poses.camera, steps, rate) for track in tracks]
    weights = [prominence(track) for track in tracks]
    envelope = combine(envelopes, weights)
    return envelope, settle_accents(find_accents(envelope, rate, FLOOR_JOINTS), envelope, rate)


def settle_accents(accents: Accents, envelope: Array, rate: float) -> Array:
    """Choose accents, in seconds: what stands out and, where that shows a clear beat, what is faint but on it."""
    plain = accents.over(SHARE)
    tempo = estimate_tempo(envelope / max(float(envelope.max(initial=0.0)), 1e-9), rate, plain)
    if tempo is None or tempo.confidence < CLEAR_BEAT:
        return plain
    late = np.abs(signed_phase(accents.times - tempo.first_beat, 60.0 / tempo.bpm))
    off_half = np.abs(signed_phase(accents.times - tempo.first_beat, 30.0 / tempo.bpm))
    share = np.where(late <= TOLERANCE, SHARE_ON_BEAT, np.where(off_half <= TOLERANCE, SHARE, SHARE_BETWEEN))
    return accents.over(share)


def combine(envelopes: list[Array], weights: list[float]) -> Array:
    """Mean of envelopes by weight, each first brought to the loudness of the loudest, (n,).

    Dancers who hardly move have no say; one dancer's envelope comes back as it is.
    """
    loud = [loudness(envelope) for envelope in envelopes]
    kept = [(e, w, x) for e, w, x in zip(envelopes, weights, loud, strict=True) if w > 0.0 and x > 0.0]
    if not kept:
        return envelopes[0]
    total = sum(weight for _, weight, _ in kept)
    reference = max(x for _, _, x in kept)
    return np.asarray(sum((w / total) * (reference / x) * e for e, w, x in kept), dtype=np.float64)


def loudness(envelope: Array) -> float:
    """Typical height of strong accents; 0 where nothing stands out from stillness."""
    top = float(np.quantile(envelope, 0.98)) if len(envelope) else 0.0
    return top if top >= FLOOR_JOINTS else 0.0


def prominence(track: PoseTrack) -> float:
    """How much of the picture a dancer takes, for how long, and how surely it was seen."""
    if len(track.times) == 0:
        return 0.0
    seen = track.keypoints[..., 2] > 0.1
    if not seen.any():
        return 0.0
    y = track.keypoints[..., 1]
    height = np.where(seen, y, -np.inf).max(axis=1) - np.where(seen, y, np.inf).min(axis=1)
    tall = float(np.median(height[seen.any(axis=1)])) / max(track.frame_size[1], 1)
    return tall * len(track.times) * float(track.keypoints[..., 2].mean())


def raw_rhythm(track: PoseTrack, steps: int, options: RhythmOptions) -> tuple[Array, Array]:
    """Envelope on the clock and peaks in seconds, from raw pixels.

    Mode "paper" dates the acceleration over three frames at the middle one; mode "published" at the first, since the
    published code takes the index of its result for the index of the frame.
    """
    if options.mode == "published":
        first, points = at_published_rate(track)
        acceleration = np.concatenate([np.zeros(first), published_acceleration(points)])
        envelope = np.zeros(max(steps, len(acceleration)))
        envelope[: len(acceleration)] = acceleration
        # Picked as `Rhythm.window` will pick them, from the same single-precision numbers.
        return envelope, published_peaks_by_clip(acceleration.astype(np.float32).astype(np.float64)) / options.rate
    acceleration = paper_acceleration(track.keypoints[..., :2], options.sectors)
    times = track.times[1 : 1 + len(acceleration)]
    index = paper_peaks(acceleration, times, options.window)
    if len(acceleration) == 0:
        return np.zeros(steps), np.zeros(0)
    clock = np.arange(steps) / options.rate
    return np.interp(clock, times, acceleration, left=0.0, right=0.0), times[index]


def at_published_rate(track: PoseTrack) -> tuple[int, Array]:
    """Keypoints at the 60 frames a second on which the published code looks, on a clock that begins at time 0.

    Frames that lie on that clock are taken as they are, others by cubics that keep between neighbouring frames
    (PCHIP).

    Returns
    -------
    Number of the first step of the clock at which the dancer is seen, and (n, J, 2) pixels from there on.
    """
    from scipy.interpolate import PchipInterpolator

    points = track.keypoints[..., :2].astype(np.float64)
    if len(points) < 2:
        return 0, points[:0]
    times = track.times * PUBLISHED_RATE
    steps = np.round(times).astype(np.intp)
    on_clock = (np.abs(times - steps) <= AT_A_STEP) & (float(np.diff(times).min()) > 2.0 * AT_A_STEP)
    times = np.where(on_clock, steps, times)
    first = max(0, int(np.ceil(times[0])))
    result: Array = PchipInterpolator(times, points)(np.arange(first, int(times[-1]) + 1))
    on_clock &= steps >= first
    result[steps[on_clock] - first] = points[on_clock]  # to the last bit: whole degrees of an angle are told apart
    return first, result
