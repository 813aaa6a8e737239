"""Beats of the dance itself, for judging music where no reference music is given.

Kinematic beats are the minima of the mean speed of all joints: the moments at which a dancer holds still or turns
around (Li et al., "AI Choreographer", 2021; Bailando). The rhythm that conditions the music comes from accelerations by
joint and direction (`d2m_cli.rhythm`); what is used here is another reading of the same poses.

A minimum is dated in one of two ways. "minimum" is the field's: the lowest point. In a dance that arrives on the beat
and holds, it lies in the middle of the hold, long after the beat, and music on the beat scores under chance. "stop"
dates the same minimum at the moment when half of the speed before it is lost; it is the default. The tests hold both to
the true beats of the example dances, on which the constants were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from d2m_cli.evaluation.rhythm.beat_tracker import pulse_tempo
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.onsets import FRAMES_PER_SECOND, Times
from d2m_cli.pose.track import CameraMotion, Poses, PoseTrack, tracks_of
from d2m_cli.rhythm.extract import prominence
from d2m_cli.rhythm.motion import resample
from d2m_cli.rhythm.stable import level_time

Array = NDArray[np.float64]

RATE = 60.0
"""Steps per second at which AIST++ and what follows it look for minima."""
SMOOTHING_SECONDS = 2.0 / 60.0
"""Standard deviation of the Gaussian on the speed, on top of that on the poses."""
SEPARATION_SECONDS = 10.0 / 60.0
"""Least time between two minima."""
LEAST_DIP = 0.1
"""Least depth of a minimum as a share of the median speed."""
STILL = 0.05
"""Torso lengths a second under which nobody dances."""
STILL_JITTER, DIP_JITTER = 1.5, 0.5
"""The same two bounds, in mean speeds that jitter alone would show: a body at rest has minima of that, too."""
FEWEST_JOINTS = 4
"""Joints that must be seen for their mean to stand for the body."""
STOP_SHARE = 0.5
"""Share of the fall of speed at which a stop is dated."""
EDGE_KERNELS = 2.0
"""How far from the ends of a track, in kernels of its smoothing, speeds rest on frames of one side and are noisy."""
CAST_SECONDS = 0.03
"""Standard deviation of the mark that a beat leaves on the curve its tempo is read from."""
DATINGS = ("stop", "minimum")


@dataclass(frozen=True, repr=False)
class Speed:
    """How fast a body moves.

    Attributes
    ----------
    values
        (n,) mean speed of the joints on an even clock of `RATE` steps a second from time 0, torso lengths a second.
    known
        (n,) whether enough of a body was seen; elsewhere the speed is drawn straight on.
    jitter
        Mean speed that jitter alone would show.
    """

    values: Array
    known: NDArray[np.bool_]
    jitter: float

    @classmethod
    def unknown(cls, steps: int) -> Speed:
        """Of a body that was not seen."""
        return cls(np.zeros(steps), np.zeros(steps, dtype=np.bool_), 0.0)


def kinematic_beats(poses: Poses, dancers: int | str = "all", dating: str = "stop") -> Times:
    """Moments at which a dance comes to rest or turns.

    Parameters
    ----------
    poses
        Dancers with true time stamps; camera motion is taken out where it is known.
    dancers
        As `d2m_cli.pose.dancers` has it; of several the mean by prominence.
    dating
        "stop" or "minimum"; see above.

    Returns
    -------
    (b,) seconds, rising; empty where nobody moves.

    Raises
    ------
    NoPersonError
        There is no dancer of the number asked for.
    """
    if dating not in DATINGS:
        raise ValueError(f"dating must be one of {', '.join(DATINGS)}, not {dating!r}")
    speed = mean_speed(poses, dancers)
    values = ndimage.gaussian_filter1d(speed.values, SMOOTHING_SECONDS * RATE, mode="nearest")
    moving = values[values > max(STILL, STILL_JITTER * speed.jitter)]
    if not len(moving):
        return np.zeros(0)
    depth = max(LEAST_DIP * float(np.median(moving)), DIP_JITTER * speed.jitter)
    dips, _ = signal.find_peaks(-values, distance=SEPARATION_SECONDS * RATE, prominence=depth)
    dated = stops(values, dips) if dating == "stop" else lowest(values, dips)
    seen = speed.known[dips] & speed.known[np.round(dated).astype(int)]
    return np.asarray(dated[seen] / RATE, dtype=np.float64)


def detect_dance(poses: Poses, dancers: int | str = "all", dating: str = "stop") -> Detections:
    """A dance as the reference of a `Pair`: its kinematic beats for every detector, and the tempo of their pulse."""
    beats = kinematic_beats(poses, dancers, dating)
    seconds = max(poses.duration, float(beats[-1]) if len(beats) else 0.0)
    marks = np.bincount(np.round(beats * FRAMES_PER_SECOND).astype(int), minlength=int(seconds * FRAMES_PER_SECOND) + 1)
    curve = ndimage.gaussian_filter1d(marks.astype(np.float64), CAST_SECONDS * FRAMES_PER_SECOND, mode="constant")
    return Detections(seconds, beats, beats, beats, pulse_tempo(curve))


def mean_speed(poses: Poses, dancers: int | str = "all") -> Speed:
    """Mean speed of the joints of one dancer, or of all by prominence."""
    tracks = tracks_of(poses.tracks, dancers)
    duration = max([poses.duration, *(float(track.times[-1]) for track in tracks if len(track.times))])
    steps = int(np.ceil(duration * RATE - 1e-6)) + 1
    weights = [prominence(track) for track in tracks]
    if not any(weights):
        return Speed.unknown(steps)
    speeds = [track_speed(track, poses.camera, steps) for track in tracks]
    return Speed(
        np.average([speed.values for speed in speeds], axis=0, weights=weights),
        np.any([speed.known for speed in speeds], axis=0),
        float(np.average([speed.jitter for speed in speeds], weights=weights)),
    )


def track_speed(track: PoseTrack, camera: CameraMotion | None, steps: int) -> Speed:
    """Mean speed of one dancer's joints."""
    if len(track.times) < 3:
        return Speed.unknown(steps)
    motion = resample(track, camera, steps, RATE)
    count = motion.known.sum(axis=1)
    edge = EDGE_KERNELS * motion.kernel
    step = np.arange(steps)
    inside = (step / RATE >= track.times[0] + edge) & (step / RATE <= track.times[-1] - edge)
    sure = (count >= FEWEST_JOINTS) & inside
    if not sure.any():
        return Speed.unknown(steps)
    mean = (np.linalg.norm(motion.velocity, axis=2) * motion.known).sum(axis=1) / np.maximum(count, 1)
    # The length of two independent normal errors is 1.25 of their standard deviation on average.
    jitter = float(np.sqrt(0.5 * np.pi) * motion.noise.mean())
    return Speed(np.interp(step, step[sure], mean[sure]).astype(np.float64), sure, jitter)


def lowest(speed: Array, dips: NDArray[np.intp]) -> Array:
    """Steps, with fraction, of the lowest points at (d,) minima, by a parabola."""
    before, here, after = speed[dips - 1], speed[dips], speed[dips + 1]
    bend = before - 2.0 * here + after
    return np.asarray(dips + np.where(bend > 0.0, 0.5 * (before - after) / np.where(bend > 0.0, bend, 1.0), 0.0))


def stops(speed: Array, dips: NDArray[np.intp]) -> Array:
    """Steps, with fraction, at which `STOP_SHARE` of the speed before each of (d,) minima is lost for good."""
    found, start = [], 0
    for dip in dips.tolist():
        top = start + int(np.argmax(speed[start : dip + 1]))
        fall = speed[top : dip + 1]
        found.append(top + level_time(fall, float(fall[0] - STOP_SHARE * (fall[0] - fall[-1]))))
        start = dip
    return np.asarray(found, dtype=np.float64)
