"""What joints say about the beat, as functions of time.

Dancers mark a beat in many ways: a foot lands, a hand stops, the trunk sinks or turns round. None of them is decided on
here. Each group of joints gives the curves in which such marks show (speed, loss of speed, change of direction,
movement up and down) on one even clock; `beat_model` has learned what to make of them.

The curves do not depend on body size (lengths are in torso lengths, and each curve is divided by its own size over the
track), on the side (left and right are averaged, a mirrored dance gives the same curves), on the camera's motion (taken
out where it is known) and hardly on the frame rate (velocities have the same smoothing at every rate; see
`stable.local_velocity`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.track import CameraMotion, PoseTrack
from d2m_cli.rhythm.motion import resample
from d2m_cli.rhythm.stable import arms_from_shoulders

Array = NDArray[np.float64]

RATE = 50.0
"""Steps per second of the clock, which starts at time 0."""
GROUPS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("feet", (15, 16)),
    ("knees", (13, 14)),
    ("trunk", (5, 6, 11, 12)),
    ("hands", (7, 8, 9, 10)),
    ("head", (0, 1, 2, 3, 4)),
)
"""Joints that are averaged."""
KINDS = ("speed", "braking", "turning", "vertical")
"""Length of the velocity; its loss a second; length of the acceleration; velocity downwards."""
CURVES: tuple[str, ...] = tuple(f"{group} {kind}" for group, _ in GROUPS for kind in KINDS)
"""Names of the curves in their order."""
STILL = (0.05, 0.5, 0.5, 0.05)
"""Least size by which each kind is divided, torso lengths a second (squared): a body at rest has no accents."""
LARGEST = 6.0
"""A curve ends at so many of its sizes: one blow, or one misplaced joint, shall not outshine all else."""


@dataclass(frozen=True, repr=False)
class Evidence:
    """Curves of one dancer.

    Attributes
    ----------
    values
        (n, `CURVES`) each divided by its root mean square; 0 where not known.
    known
        (n,) share of the joints, by group, that were seen at each step.
    moved
        Root mean square of the speed of all groups in torso lengths a second, beyond what jitter shows.
    """

    values: Array
    known: Array
    moved: float

    def __repr__(self) -> str:
        return f"Evidence(n={len(self.values)}, known={self.known.mean():.2f}, moved={self.moved:.2f})"


def beat_evidence(track: PoseTrack, camera: CameraMotion | None = None, steps: int | None = None) -> Evidence:
    """Evidence of one dancer on the clock of `RATE` steps a second from time 0.

    Parameters
    ----------
    track
        The dancer.
    camera
        Its motion is taken out; None where the camera stands still.
    steps
        Length of the clock; to the last frame of the track where not given.
    """
    if steps is None:
        steps = int(np.ceil(track.times[-1] * RATE - 1e-6)) + 1 if len(track.times) else 0
    if len(track.times) < 3 or steps < 3:
        return Evidence(np.zeros((steps, len(CURVES))), np.zeros(steps), 0.0)
    motion = resample(track, camera, steps, RATE)
    curves, known = [], np.zeros(steps)
    velocity = arms_from_shoulders(motion)
    moved, jitter = [], []
    for _, joints in GROUPS:
        columns, seen = group_curves(velocity[:, joints], motion.known[:, joints])
        curves.append(columns)
        known += seen / len(GROUPS)
        moved.append(mean_square(columns[:, 0], seen > 0.0))
        jitter.append(2.0 * float(np.mean(motion.noise[list(joints)] ** 2)))
    values = np.concatenate([normalised(columns, known) for columns in curves], axis=1)
    excess = max(float(np.mean(moved)) - float(np.mean(jitter)), 0.0)
    return Evidence(values, known, float(np.sqrt(excess)))


def group_curves(velocity: Array, known: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The `KINDS` of one group, (n, 4), from its joints' velocities (n, j, 2); and the share of joints known, (n,)."""
    both = known & np.roll(known, 1, axis=0) & np.roll(known, -1, axis=0)
    both[[0, -1]] = False
    speed = np.linalg.norm(velocity, axis=2)
    loss = np.maximum(-np.gradient(speed, 1.0 / RATE, axis=0), 0.0)
    turn = np.linalg.norm(np.gradient(velocity, 1.0 / RATE, axis=0), axis=2)
    counts = known.sum(axis=1)
    firm = both.sum(axis=1)
    columns = [
        share((speed * known).sum(axis=1), counts),
        share((loss * both).sum(axis=1), firm),
        share((turn * both).sum(axis=1), firm),
        share((velocity[..., 1] * known).sum(axis=1), counts),
    ]
    return np.stack(columns, axis=1), counts / known.shape[1]


def share(total: Array, count: Array) -> Array:
    """Mean of what was seen; 0 where nothing was."""
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), 0.0), dtype=np.float64)


def mean_square(values: Array, known: NDArray[np.bool_]) -> float:
    """Mean of the squares where known; 0 where nothing is."""
    return float(np.mean(values[known] ** 2)) if known.any() else 0.0


def normalised(columns: Array, known: Array) -> Array:
    """Curves divided by their root mean square over the track, and bounded."""
    out = np.zeros_like(columns)
    for k, least in enumerate(STILL):
        size = max(np.sqrt(mean_square(columns[:, k], known > 0.0)), least)
        out[:, k] = np.clip(columns[:, k] / size, -LARGEST, LARGEST)
    return out
