"""Procedural dances: COCO-17 skeletons in pixels from analytic curves, with their true beats and accents.

Nothing here knows how rhythm is detected. A body stands in units of its torso (y up, feet at 0); each family of moves
is a function of continuous time, so that any frame rate samples the same dance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.track import Poses, PoseTrack

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
TORSO_PIXELS = 100.0

#                  x      y      (torso lengths, y up, the dancer faces the camera: its left is at +x)
STANDING = np.array(
    [
        [0.00, 3.10], [0.07, 3.17], [-0.07, 3.17], [0.15, 3.13], [-0.15, 3.13],
        [0.38, 2.70], [-0.38, 2.70], [0.55, 2.15], [-0.55, 2.15], [0.60, 1.65], [-0.60, 1.65],
        [0.22, 1.70], [-0.22, 1.70], [0.24, 0.85], [-0.24, 0.85], [0.26, 0.05], [-0.26, 0.05],
    ]
)  # fmt: skip
HEAD, SHOULDERS, ELBOWS, WRISTS = slice(0, 5), slice(5, 7), slice(7, 9), slice(9, 11)
HIPS, KNEES, ANKLES, UPPER = slice(11, 13), slice(13, 15), slice(15, 17), slice(0, 13)


@dataclass(frozen=True)
class Dance:
    """A dance in continuous time.

    Attributes
    ----------
    joints
        Function of (T,) seconds giving (T, 17, 2) torso lengths, y up.
    beats
        True beats in seconds.
    accents
        True accents in seconds: the beats that are danced, and the off-beats.
    seconds
        Length.
    """

    joints: Curve
    beats: NDArray[np.float64]
    accents: NDArray[np.float64]
    seconds: float


def beat_times(bpm: float, seconds: float, first: float = 0.31) -> NDArray[np.float64]:
    """Beats of a metronome."""
    return np.arange(first, seconds, 60.0 / bpm)


def ease(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimum-jerk course from 0 (x <= 0) to 1 (x >= 1)."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def fling(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Course from 0 to 1 that starts softly and stops hard: the shape of a hit."""
    x = np.clip(x, 0.0, 1.0)
    return x**2 * (3.0 - 2.0 * x) * 0.5 + 0.5 * x**3


def poses_through(
    t: NDArray[np.float64], arrivals: NDArray[np.float64], values: NDArray[np.float64], travel: float, course: Curve
) -> NDArray[np.float64]:
    """Piecewise course: value k is reached at arrival k after ``travel`` seconds of moving, then held.

    ``values`` is (len(arrivals) + 1, ...), the first one being the start.
    """
    out = np.broadcast_to(values[0], (len(t), *values.shape[1:])).astype(float).copy()
    for k, arrival in enumerate(arrivals):
        share = course((t - arrival + travel) / travel).reshape(-1, *[1] * (values.ndim - 1))
        out += share * (values[k + 1] - values[k])
    return out


def standing(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 17, 2) of the body at rest."""
    return np.repeat(STANDING[None], len(t), axis=0)


def lower(body: NDArray[np.float64], depth: NDArray[np.float64]) -> None:
    """Bend the knees by ``depth`` (T,) torso lengths."""
    body[:, UPPER, 1] -= depth[:, None]
    body[:, KNEES, 1] -= 0.5 * depth[:, None]
    body[:, 13, 0] += 0.4 * depth
    body[:, 14, 0] -= 0.4 * depth


def drops(
    t: NDArray[np.float64],
    beats: NDArray[np.float64],
    depths: float | NDArray[np.float64],
    fall: float = 0.14,
    rise: float = 0.28,
) -> NDArray[np.float64]:
    """Sharp weight drops: down within ``fall`` seconds, lowest on the beat, up again within ``rise``."""
    out = np.zeros(len(t))
    for beat, depth in zip(beats, np.broadcast_to(depths, len(beats)), strict=True):
        down = (t - beat + fall) / fall
        up = (t - beat) / rise
        out = np.maximum(out, depth * np.where(t < beat, fling(down), 1.0 - ease(up)))
    return out


def bounce_sharp(bpm: float = 120.0, seconds: float = 12.0) -> Dance:
    """Weight drops on every beat."""
    beats = beat_times(bpm, seconds)

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = standing(t)
        lower(body, drops(t, beats, 0.16))
        return body

    return Dance(joints, beats, beats, seconds)


def bounce_smooth(bpm: float = 104.0, seconds: float = 12.0) -> Dance:
    """A sinusoidal groove, lowest on every beat, the shoulders swaying at half the rate."""
    beats = beat_times(bpm, seconds)

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = standing(t)
        phase = 2.0 * np.pi * (t - beats[0]) * bpm / 60.0
        lower(body, 0.09 * (1.0 + np.cos(phase)))
        body[:, :11, 0] += 0.08 * np.cos(phase / 2.0)[:, None]
        return body

    return Dance(joints, beats, beats, seconds)


def steps(bpm: float = 110.0, seconds: float = 12.0) -> Dance:
    """Steps from side to side, landing on every beat with a small dip."""
    beats = beat_times(bpm, seconds)
    period = 60.0 / bpm
    side = np.array([0.0] + [0.45 if k % 2 else -0.45 for k in range(len(beats))])

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = standing(t)
        travel = 0.7 * period
        trunk = poses_through(t, beats, side, travel, ease)
        body[:, :15, 0] += trunk[:, None]
        for foot, parity in ((15, 1), (16, 0)):
            landings = beats[parity::2]
            body[:, foot, 0] += 0.8 * poses_through(t, beats, side, travel, fling)
            for landing in landings:
                x = np.clip((t - landing + travel) / travel, 0.0, 1.0)
                body[:, foot, 1] += 0.25 * 4.0 * x * (1.0 - x)
        lower(body, drops(t, beats, 0.07))
        return body

    return Dance(joints, beats, beats, seconds)


def arm_targets(count: int, seed: int) -> NDArray[np.float64]:
    """(count, 4, 2) random places of left elbow, right elbow, left wrist, right wrist, far from one another in turn."""
    rng = np.random.default_rng(seed)
    out = np.empty((count, 4, 2))
    angle = np.array([-1.2, -1.2])
    for k in range(count):
        angle = angle + rng.choice([-1.0, 1.0], 2) * rng.uniform(0.9, 1.8, 2)
        bend = angle + rng.uniform(-0.8, 0.8, 2)
        for side, sign in enumerate((1.0, -1.0)):
            shoulder = STANDING[5 + side]
            out[k, side] = shoulder + 0.58 * np.array([sign * np.cos(angle[side]), np.sin(angle[side])])
            out[k, 2 + side] = out[k, side] + 0.52 * np.array([sign * np.cos(bend[side]), np.sin(bend[side])])
    return out


def hits_at(
    bpm: float, seconds: float, accents: NDArray[np.float64], travel: float, seed: int, bounce: float = 0.0
) -> Dance:
    """Arm hits that arrive on the given accents and freeze until the next."""
    beats = beat_times(bpm, seconds)
    targets = arm_targets(len(accents) + 1, seed)

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = standing(t)
        body[:, 7:11] = poses_through(t, accents, targets, travel, fling)
        lower(body, drops(t, beats, bounce))
        return body

    return Dance(joints, beats, accents, seconds)


def arm_hits(bpm: float = 124.0, seconds: float = 12.0) -> Dance:
    """An arm hit on every beat."""
    return hits_at(bpm, seconds, beat_times(bpm, seconds), 0.2, 1)


def off_beats(bpm: float = 98.0, seconds: float = 12.0) -> Dance:
    """Hits on every beat and, in every fourth beat, on the off-beat after it."""
    beats = beat_times(bpm, seconds)
    accents = np.sort(np.concatenate([beats, beats[3::4] + 30.0 / bpm]))
    return hits_at(bpm, seconds, accents, 0.17, 2)


def half_time(bpm: float = 128.0, seconds: float = 14.0) -> Dance:
    """Hits on every other beat."""
    return hits_at(bpm, seconds, beat_times(bpm, seconds)[::2], 0.24, 3)


def holds(bpm: float = 112.0, seconds: float = 14.0) -> Dance:
    """Hits on beats, of which some in a row are held still."""
    beats = beat_times(bpm, seconds)
    danced = np.array([k % 8 not in (3, 6, 7) for k in range(len(beats))])
    return hits_at(bpm, seconds, beats[danced], 0.22, 4)


def groove(bpm: float = 116.0, seconds: float = 12.0) -> Dance:
    """All at once: drops on the beat, arms swinging slowly and without accents, a hit on every fourth beat."""
    beats = beat_times(bpm, seconds)
    hits = hits_at(bpm, seconds, beats[1::4], 0.2, 5)

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = hits.joints(t)
        lower(body, drops(t, beats, 0.12))
        swing = 0.25 * np.sin(2.0 * np.pi * 0.37 * t)
        body[:, 9, 0] += swing
        body[:, 10, 1] += 0.8 * swing
        body[:, :11, 0] += 0.1 * np.sin(np.pi * (t - beats[0]) * bpm / 60.0)[:, None]
        return body

    return Dance(joints, beats, beats, seconds)


def scoops(bpm: float = 100.0, seconds: float = 12.0) -> Dance:
    """The hips trace a U from side to side, lowest (and fastest) on the beat; the arms follow late."""
    beats = beat_times(bpm, seconds)

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = standing(t)
        phase = np.pi * (t - beats[0]) * bpm / 60.0
        body[:, UPPER, 0] += 0.22 * np.sin(phase)[:, None]
        body[:, 7:11, 0] += 0.1 * np.sin(phase - 0.5)[:, None]
        lower(body, drops(t, beats, 0.12, 0.2, 0.3))
        return body

    return Dance(joints, beats, beats, seconds)


def human(bpm: float = 106.0, seconds: float = 16.0, seed: int = 7) -> Dance:
    """A dancer who is never exact: accents 15 ms (sd) off the beat, no two alike, drops and hits, some left out."""
    rng = np.random.default_rng(seed)
    beats = beat_times(bpm, seconds)
    accents = beats + np.clip(0.015 * rng.standard_normal(len(beats)), -0.03, 0.03)
    kind = rng.choice(3, len(beats), p=[0.5, 0.4, 0.1])
    dropped, hit = accents[kind == 0], accents[(kind == 1) | (rng.random(len(beats)) < 0.2)]
    depths = rng.uniform(0.07, 0.2, len(dropped))
    targets = arm_targets(len(hit) + 1, seed)

    def joints(t: NDArray[np.float64]) -> NDArray[np.float64]:
        body = standing(t)
        body[:, 7:11] = poses_through(t, hit, targets, 0.23, fling)
        lower(body, drops(t, dropped, depths))
        lower(body, 0.02 * (1.0 + np.sin(2.0 * np.pi * 0.31 * t)))
        body[:, :15, 0] += 0.2 * np.sin(2.0 * np.pi * 0.23 * t)[:, None]
        body[:, :5, 0] += 0.04 * np.sin(2.0 * np.pi * 0.9 * t)[:, None]
        return body

    return Dance(joints, beats, np.union1d(dropped, hit), seconds)


FAMILIES: dict[str, Callable[[], Dance]] = {
    "bounce_sharp": bounce_sharp, "bounce_smooth": bounce_smooth, "steps": steps, "arm_hits": arm_hits,
    "off_beats": off_beats, "half_time": half_time, "holds": holds, "groove": groove, "scoops": scoops, "human": human,
}  # fmt: skip


def film(
    dance: Dance,
    fps: float = 30.0,
    jitter: float = 0.0,
    dropped: float = 0.0,
    torso: float = TORSO_PIXELS,
    times: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Poses:
    """What a pose network would return of a dance.

    Parameters
    ----------
    jitter
        Standard deviation of Gaussian noise, in torso lengths.
    dropped
        Share of joints that are lost in each frame: score 0 and a place far off.
    torso
        Size of the dancer in pixels.
    times
        (T,) frame times in seconds instead of an even ``fps``.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, dance.seconds, 1.0 / fps) if times is None else times
    body = dance.joints(t)
    body = body + jitter * rng.standard_normal(body.shape)
    keypoints = np.empty((len(t), 17, 3), dtype=np.float32)
    keypoints[..., 0] = 320.0 + torso * body[..., 0]
    keypoints[..., 1] = 450.0 - torso * body[..., 1]
    keypoints[..., 2] = 0.9
    lost = rng.random((len(t), 17)) < dropped
    keypoints[lost] = (0.0, 0.0, 0.0)
    return Poses((PoseTrack(keypoints, t.astype(np.float64), (640, 480), 0, "procedural"),), None, dance.seconds)
