"""Holds of a dance: moments in which everybody who is seen stands still, with dancing before and after."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from d2m_cli.pose.track import CameraMotion, Poses, PoseTrack
from d2m_cli.rhythm.evidence import GROUPS, RATE
from d2m_cli.rhythm.motion import resample
from d2m_cli.rhythm.stable import QUIET_SPEED

Array = NDArray[np.float64]

SHORTEST_BEATS, LONGEST_BEATS = 2.0, 16.0
"""A hold lasts longer than the first; beyond the second nobody dances, which is something else."""
USUAL_BPM = 120.0
"""For beats of a dance in which none were found."""
SMOOTH_SECONDS = 0.2
"""Speeds are means over so long, so that one misplaced joint does not end a hold."""
JITTER = 2.0
"""So many standard deviations of a resting joint's jitter are no movement."""


def find_holds(poses: Poses, bpm: float | None = None) -> tuple[tuple[float, float], ...]:
    """Where a dance holds for more than two beats, and up to sixteen.

    Parameters
    ----------
    poses
        Dancers and camera of one video.
    bpm
        Beats a minute, None for 120.

    Returns
    -------
    (start, end) in seconds of each hold, in order. Where nobody is seen is none, nor what reaches an end of the video.
    """
    steps = int(np.ceil(poses.duration * RATE - 1e-6)) + 1
    moving, resting = np.zeros(steps, dtype=bool), np.zeros(steps, dtype=bool)
    for track in poses.tracks:
        known, still = stillness(track, poses.camera, steps)
        moving |= known & ~still
        resting |= still
    edges = np.flatnonzero(np.diff(np.concatenate([[False], resting & ~moving, [False]]).astype(np.int8)))
    beat = 60.0 / (bpm or USUAL_BPM)
    holds = []
    for start, stop in edges.reshape(-1, 2):
        inside = moving[:start].any() and moving[stop:].any()
        if inside and SHORTEST_BEATS * beat < (stop - start) / RATE <= LONGEST_BEATS * beat:
            holds.append((float(start / RATE), float(stop / RATE)))
    return tuple(holds)


def stillness(track: PoseTrack, camera: CameraMotion | None, steps: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether most of one dancer is seen, and whether no part of what is seen moves, (steps,) each at `RATE`."""
    if len(track.times) < 3:
        return np.zeros(steps, dtype=bool), np.zeros(steps, dtype=bool)
    motion = resample(track, camera, steps, RATE)
    speeds = np.linalg.norm(motion.velocity, axis=2)
    seen, still = np.zeros(steps), np.ones(steps, dtype=bool)
    for _, joints in GROUPS:
        columns = list(joints)
        known = motion.known[:, columns]
        count = known.sum(axis=1)
        speed = (speeds[:, columns] * known).sum(axis=1) / np.maximum(count, 1)
        # Two coordinates jitter.
        quiet = max(QUIET_SPEED, JITTER * float(np.sqrt(2.0 * np.mean(motion.noise[columns] ** 2))))
        still &= (uniform_filter1d(speed, max(1, round(SMOOTH_SECONDS * RATE)), mode="nearest") < quiet) | (count == 0)
        seen += count > 0
    known_at_all = seen > len(GROUPS) / 2
    return known_at_all, still & known_at_all
