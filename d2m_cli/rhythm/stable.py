"""Accents of a dance from real footage: any frame rate, jitter, lost joints, any body size, a moving camera.

The idea of Eq. 4-7 is kept: speed is split by direction, and its abrupt changes are summed over joints and directions.
What differs is which change counts and when. A movement *arrives*: a drop of the weight ends at its lowest point, a hit
at the place where the arm stops, a step when the foot lands. So each joint's fall of speed in one direction is one
arrival, dated where the movement comes to its end, and accents are the moments at which many arrivals coincide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m_cli.pose.track import CameraMotion, PoseTrack
from d2m_cli.rhythm.motion import Motion, resample

Array = NDArray[np.float64]

CAST_SECONDS = 0.03
"""Standard deviation of the Gaussian that each arrival casts on the envelope."""
BRAKING_SHARE = 0.25
"""Deceleration below this share of its greatest is not part of the braking; less makes slow turns steadier."""
FLESH_SECONDS = 0.015
"""Standard deviation of the softness of a body's stop, which widens it about its middle as the kernel does."""
LAG_SECONDS = 0.005
"""By how much arrivals come out late on average over procedural dances with known accents: taken off."""
REBOUND_KERNELS = 1.25
"""How far around a movement's end its speed is compared to tell a stop from a turn, in kernels."""
ABRUPT = 0.06
"""An arrival whose speed falls from 70 % to 30 % in this many seconds counts half; a slower one less."""
LEVEL = 1.5
"""Fall of speed (torso lengths a second) from which an arrival gains little by being faster."""
QUIET_SPEED = 0.25
"""Falls of speed smaller than this (torso lengths a second) are not movements."""
FLOOR_JOINTS = 0.8
"""Smallest accent, in joints that arrive at once."""

# Joints of the head move as one, so that together they count as one and a half.
JOINT_WEIGHT: Array = np.array([0.3] * 5 + [1.0] * 12)
# Weight drops mark the beat and rises prepare it, so directions count differently: right, down, left, up.
TRUNK_DIRECTIONS = (0.5, 1.3, 0.5, 0.25)
LIMB_DIRECTIONS = (1.0, 1.0, 1.0, 0.7)
FOOT_DIRECTIONS = (0.7, 1.0, 0.7, 0.2)
DIRECTION_WEIGHT: Array = np.array(
    [TRUNK_DIRECTIONS] * 7 + [LIMB_DIRECTIONS] * 4 + [TRUNK_DIRECTIONS] * 4 + [FOOT_DIRECTIONS] * 2
)


def accent_envelope(track: PoseTrack, camera: CameraMotion | None, steps: int, rate: float) -> Array:
    """Strength of arrivals of one dancer, in joints that arrive at once.

    Parameters
    ----------
    track
        The dancer.
    camera
        Its motion is taken out; None where the camera stands still.
    steps
        Length of the clock.
    rate
        Steps per second of the clock, which starts at time 0.

    Returns
    -------
    (steps,)
    """
    motion = resample(track, camera, steps, rate)
    velocity = arms_from_shoulders(motion)
    envelope = np.zeros(steps)
    for joint in range(17):
        floor = max(QUIET_SPEED, 4.0 * motion.noise[joint])
        for direction, (axis, sign) in enumerate(((0, 1.0), (1, 1.0), (0, -1.0), (1, -1.0))):
            times, strengths = arrivals(
                sign * velocity[:, joint, axis], motion.known[:, joint], rate, motion.kernel, floor
            )
            cast(envelope, times, strengths * JOINT_WEIGHT[joint] * DIRECTION_WEIGHT[joint, direction], rate)
    return envelope


def arms_from_shoulders(motion: Motion) -> Array:
    """Velocities in which the arms move against their own shoulder, (n, 17, 2).

    Hands ride up and down on a bouncing body; taken as they are they would add an accent at the top of every bounce.
    """
    velocity = motion.velocity.copy()
    for shoulder, arm in ((5, [7, 9]), (6, [8, 10])):
        velocity[:, arm] -= np.where(motion.known[:, [shoulder], None], motion.velocity[:, [shoulder]], 0.0)
    return velocity


def arrivals(speed: Array, known: NDArray[np.bool_], rate: float, kernel: float, floor: float) -> tuple[Array, Array]:
    """Moments at which movement in one direction comes to its end, and how strongly.

    Parameters
    ----------
    speed
        (n,) signed velocity along the direction, torso lengths a second.
    known
        (n,) where it was measured.
    rate
        Steps per second.
    kernel
        Smoothing of the speed, standard deviation in seconds.
    floor
        Smallest fall of speed that counts.

    Returns
    -------
    Times in seconds and strengths, both (a,). A strength grows with the fall of speed and with its abruptness, and
    levels off: an accent is made of many joints that agree rather than of one that is fast.
    """
    from scipy import signal

    forward = np.maximum(speed, 0.0)
    tops, _ = signal.find_peaks(np.concatenate([[0.0], forward, [0.0]]), prominence=floor)
    tops = tops - 1
    times, strengths = [], []
    # Where a joint comes into view its speed rests on frames of one side and is noisy for the width of the kernel.
    lead_in = round(2.0 * kernel * rate)
    ends = np.append(tops, len(speed) - 1)[1:]
    for top, end in zip(tops, ends, strict=True):
        fall = forward[top : end + 1]
        low = int(np.argmin(fall))
        drop = fall[0] - fall[low]
        seen_from = top - lead_in
        if drop < floor or seen_from < 0 or not known[seen_from : top + low + 1].all():
            continue
        shape = [level_time(fall[: low + 1], fall[low] + part * drop) / rate for part in (0.7, 0.3)]
        width = shape[1] - shape[0]
        middle = hardest_braking(speed, int(top), int(top) + low + round(0.1 * rate))
        turn = rebound(speed, middle, REBOUND_KERNELS * kernel * rate)
        times.append(middle / rate + (1.0 - turn) * braking(width, kernel) - LAG_SECONDS)
        strengths.append(strength(drop, width, floor))
    return np.array(times), np.array(strengths)


def level_time(fall: Array, level: float) -> float:
    """Step, with fraction, at which a falling course is under a level for good."""
    above = np.flatnonzero(fall > level)
    if len(above) == 0:
        return 0.0
    i = int(above[-1])
    if i + 1 >= len(fall):
        return float(i)
    return i + float((fall[i] - level) / (fall[i] - fall[i + 1]))


def hardest_braking(speed: Array, top: int, stop: int) -> float:
    """Step, with fraction, about which a movement loses its speed: the centre of its strongest deceleration."""
    loss = -np.diff(speed[top : stop + 1])
    most = int(np.argmax(loss))
    weak = np.flatnonzero(loss < BRAKING_SHARE * loss[most])
    before, after = weak[weak < most], weak[weak > most]
    first = int(before[-1]) + 1 if len(before) else 0
    last = int(after[0]) if len(after) else len(loss)
    weight = loss[first:last] - BRAKING_SHARE * loss[most]
    return top + 0.5 + float(np.arange(first, last) @ weight / weight.sum())


def rebound(speed: Array, middle: float, reach: float) -> float:
    """Speed the other way soon after the middle of the braking, as a share of that before: 0 is a stop, 1 a turn."""
    before, after = np.interp([middle - reach, middle + reach], np.arange(len(speed)), speed)
    return float(np.clip(-after / before, 0.0, 1.0)) if before > 0.0 else 0.0


def braking(width: float, kernel: float) -> float:
    """Seconds between the half of a fall of speed and standstill, for a fall that takes ``width`` from 70 % to 30 %.

    The straight line through the two reaches zero 1.25 widths after the half. A stop at once looks 1.05 kernels wide,
    with its half at the stop: so much of the width is smoothing, and is taken off.
    """
    soft = 1.05 * np.hypot(kernel, FLESH_SECONDS)
    return float(1.25 * np.sqrt(max(width**2 - soft**2, 0.0)))


def strength(drop: float, width: float, floor: float) -> float:
    """How much one arrival counts, 0 to 1."""
    excess = drop - 0.5 * floor
    quick = 1.0 / (1.0 + (width / ABRUPT) ** 2)
    return float(excess / (excess + LEVEL) * quick)


def cast(envelope: Array, times: Array, strengths: Array, rate: float) -> None:
    """Add a Gaussian of each arrival's strength to the envelope."""
    reach = int(np.ceil(4.0 * CAST_SECONDS * rate))
    for time, value in zip(times, strengths, strict=True):
        centre = round(time * rate)
        index = np.arange(max(centre - reach, 0), min(centre + reach + 1, len(envelope)))
        envelope[index] += value * np.exp(-0.5 * ((index / rate - time) / CAST_SECONDS) ** 2)
