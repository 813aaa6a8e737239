"""Accents of a dance from real footage: any frame rate, jitter, lost joints, any body size, a moving camera.

The idea of Eq. 4-7 is kept: speed is split by direction, and its abrupt changes are summed over joints and directions.
What differs is which change counts and when. A movement *arrives*: a drop of the weight ends at its lowest point, a hit
at the place where the arm stops, a step when the foot lands. So each joint's fall of speed in one direction is one
arrival, dated where the movement comes to its end, and accents are the moments at which many arrivals coincide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from d2m_cli.pose.track import CameraMotion, PoseTrack

Array = NDArray[np.float64]

KERNEL_SECONDS = 0.035
"""Standard deviation of the Gaussian that smooths positions; wider where frames are too few for it."""
KERNEL_FRAMES = 0.9
"""The least standard deviation in frames: below, a parabola through the samples is not determined."""
LOW_SCORE, FULL_SCORE = 0.1, 0.4
"""Scores between which a joint's weight rises from 0 to 1."""
OUTLIER_TORSOS = 0.4
"""A joint that is farther than this from the median of its five neighbouring frames was misplaced."""
CAST_SECONDS = 0.03
"""Standard deviation of the Gaussian that each arrival casts on the envelope."""
QUIET_SPEED = 0.25
"""Falls of speed smaller than this (torso lengths a second) are not movements."""
FLOOR_JOINTS = 0.5
"""Smallest accent, in joints that arrive at once."""

# Joints of the head move as one, so that together they count as one and a half.
JOINT_WEIGHT: Array = np.array([0.3] * 5 + [1.0] * 12)
# Weight drops mark the beat and rises prepare it, so directions count differently: right, down, left, up.
TRUNK_DIRECTIONS = (0.7, 1.2, 0.7, 0.25)
LIMB_DIRECTIONS = (1.0, 1.0, 1.0, 0.7)
FOOT_DIRECTIONS = (0.7, 1.0, 0.7, 0.2)
DIRECTION_WEIGHT: Array = np.array(
    [TRUNK_DIRECTIONS] * 7 + [LIMB_DIRECTIONS] * 4 + [TRUNK_DIRECTIONS] * 4 + [FOOT_DIRECTIONS] * 2
)


@dataclass(frozen=True, repr=False)
class Motion:
    """Velocity of one dancer's joints on an even clock from time 0.

    Attributes
    ----------
    velocity
        (n, 17, 2) torso lengths a second, y down; 0 where not known.
    known
        (n, 17) whether enough was seen of the joint around that moment.
    rate
        Steps per second.
    kernel
        Standard deviation in seconds of the Gaussian that the velocity is smoothed with.
    noise
        (17,) standard deviation of the velocity that comes from jitter, torso lengths a second.
    """

    velocity: Array
    known: NDArray[np.bool_]
    rate: float
    kernel: float
    noise: Array

    def __repr__(self) -> str:
        return f"Motion(n={len(self.velocity)}, rate={self.rate}, known={self.known.mean():.2f})"


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
    envelope = np.zeros(steps)
    for joint in range(17):
        floor = max(QUIET_SPEED, 4.0 * motion.noise[joint])
        for direction, (axis, sign) in enumerate(((0, 1.0), (1, 1.0), (0, -1.0), (1, -1.0))):
            times, strengths = arrivals(
                sign * motion.velocity[:, joint, axis], motion.known[:, joint], rate, motion.kernel, floor
            )
            cast(envelope, times, strengths * JOINT_WEIGHT[joint] * DIRECTION_WEIGHT[joint, direction], rate)
    return envelope


def resample(track: PoseTrack, camera: CameraMotion | None, steps: int, rate: float) -> Motion:
    """Velocities on an even clock: camera and body size taken out, misplaced and unsure joints weighted away."""
    points = stabilise(track, camera)
    weight = np.clip((track.keypoints[..., 2].astype(np.float64) - LOW_SCORE) / (FULL_SCORE - LOW_SCORE), 0.0, 1.0)
    size = body_size(points, weight, track.times)
    weight = weight * ~misplaced(points, weight, size)
    clock = np.arange(steps) / rate
    spacing = float(np.median(np.diff(track.times))) if len(track.times) > 1 else 1.0 / rate
    kernel = max(KERNEL_SECONDS, KERNEL_FRAMES * spacing)
    velocity, known, _ = local_velocity(track.times, points, weight, clock, kernel, spacing)
    scale = np.interp(clock, track.times, size)
    noise = jitter(points / size[:, None, None], weight) * velocity_noise(kernel, spacing)
    return Motion(velocity / scale[:, None, None], known, rate, kernel, noise)


def stabilise(track: PoseTrack, camera: CameraMotion | None) -> Array:
    """(T, 17, 2) pixels of the first frame's camera."""
    points = track.keypoints[..., :2].astype(np.float64)
    if camera is None or len(camera.times) == 0:
        return points
    flat = camera.transforms.reshape(len(camera.times), 6)
    at = np.stack([np.interp(track.times, camera.times, flat[:, k]) for k in range(6)], axis=1).reshape(-1, 2, 3)
    return np.einsum("tab,tjb->tja", at[:, :, :2], points) + at[:, None, :, 2]


def body_size(points: Array, weight: Array, times: Array) -> Array:
    """Length of the torso around each frame in pixels, (T,), slow enough not to follow a bow or a turn.

    Where the hips are out of the picture, the shoulders' width stands in; without them, the extent of what is seen.
    """
    seen = weight > 0.0

    def middle(a: int, b: int) -> Array:
        return 0.5 * (points[:, a] + points[:, b])

    torso = np.linalg.norm(middle(5, 6) - middle(11, 12), axis=1)
    shoulders = 1.5 * np.linalg.norm(points[:, 5] - points[:, 6], axis=1)
    top = np.where(seen, points[..., 1], np.inf).min(axis=1)
    bottom = np.where(seen, points[..., 1], -np.inf).max(axis=1)
    extent = np.where(seen.any(axis=1), bottom - top, 0.0) / 3.0
    for length, joints in ((torso, [5, 6, 11, 12]), (shoulders, [5, 6]), (extent, [])):
        good = seen[:, joints].all(axis=1) & (length > 1.0)
        if good.sum() >= max(1, 0.2 * len(times)):
            return slow_size(length, good, times)
    return np.ones(len(times))


def slow_size(length: Array, good: NDArray[np.bool_], times: Array, seconds: float = 6.0) -> Array:
    """Upper quartile of a length over some seconds, smoothed, (T,): turned away or bent, a torso only looks shorter."""
    coarse = np.arange(times[0], times[-1] + 0.1, 0.1)
    values = np.interp(coarse, times[good], length[good])
    size = min(len(coarse), round(seconds / 0.1))
    values = ndimage.percentile_filter(values, 75, size=size, mode="nearest")
    values = ndimage.gaussian_filter1d(values, 10.0, mode="nearest")
    return np.asarray(np.interp(times, coarse, values), dtype=np.float64)


def misplaced(points: Array, weight: Array, size: Array) -> NDArray[np.bool_]:
    """(T, 17) joints that jump away from their neighbours in time and back."""
    if len(points) < 5:
        return np.zeros(weight.shape, dtype=bool)
    steady = fill_unseen(points, weight)
    median = ndimage.median_filter(steady, size=(5, 1, 1), mode="nearest")
    return np.asarray(np.linalg.norm(steady - median, axis=2) > OUTLIER_TORSOS * size[:, None], dtype=np.bool_)


def fill_unseen(points: Array, weight: Array) -> Array:
    """Points in which joints that were not seen lie between the frames before and after."""
    out = points.copy()
    index = np.arange(len(points))
    for joint in range(points.shape[1]):
        seen = weight[:, joint] > 0.0
        if 0 < seen.sum() < len(points):
            for axis in range(2):
                out[:, joint, axis] = np.interp(index, index[seen], points[seen, joint, axis])
    return out


def local_velocity(
    times: Array, points: Array, weight: Array, clock: Array, kernel: float, spacing: float
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Slope of a parabola fitted around each step of the clock with Gaussian weights.

    A fit takes frames where they are: uneven times, lost joints and odd frame rates need no resampling before it, and
    every frame rate ends with the same smoothing.

    Parameters
    ----------
    times
        (T,) seconds.
    points
        (T, J, 2) pixels.
    weight
        (T, J) 0 to 1.
    clock
        (n,) seconds.
    kernel
        Standard deviation of the weights in seconds.
    spacing
        Usual time between frames in seconds.

    Returns
    -------
    Velocity (n, J, 2) in pixels a second, whether it is known (n, J), and the position (n, J, 2).
    """
    n, joints = len(clock), weight.shape[1]
    velocity, position = np.zeros((n, joints, 2)), np.zeros((n, joints, 2))
    known = np.zeros((n, joints), dtype=bool)
    enough = 0.35 * kernel * np.sqrt(2.0 * np.pi) / spacing
    for start in range(0, n, 2048):
        part = slice(start, min(start + 2048, n))
        low = np.searchsorted(times, clock[part] - 3.0 * kernel)
        high = np.searchsorted(times, clock[part] + 3.0 * kernel)
        reach = max(int((high - low).max(initial=0)), 1)
        index = np.minimum(low[:, None] + np.arange(reach), len(times) - 1)
        inside = low[:, None] + np.arange(reach) < high[:, None]
        x = (times[index] - clock[part, None]) / kernel
        bell = (np.exp(-0.5 * x**2) * inside)[..., None] * weight[index]
        powers = x[..., None] ** np.arange(5)
        s = np.einsum("nmj,nmp->njp", bell, powers)
        y = np.einsum("nmj,nmp,nmjc->njpc", bell, powers[..., :3], points[index])
        before = np.einsum("nmj,nm->nj", bell, x < 0.0)
        after = np.einsum("nmj,nm->nj", bell, x >= 0.0)
        count = (bell > 0.05).sum(axis=1)
        good = (count >= 3) & (s[..., 0] >= enough) & (before > 0.2 * s[..., 0]) & (after > 0.2 * s[..., 0])
        system = np.stack([s[..., 0:3], s[..., 1:4], s[..., 2:5]], axis=-2) + 1e-9 * np.eye(3)
        system[~good] = np.eye(3)
        fit = np.linalg.solve(system, np.where(good[..., None, None], y, 0.0))
        position[part], velocity[part], known[part] = fit[..., 0, :], fit[..., 1, :] / kernel, good
    return velocity, known, position


def jitter(points: Array, weight: Array) -> Array:
    """(J,) standard deviation of frame-to-frame noise in one coordinate, robust against movement."""
    if len(points) < 5:
        return np.zeros(points.shape[1])
    # Third differences of smooth movement are small; of white noise they have variance 20.
    third = np.abs(np.diff(points, 3, axis=0)).mean(axis=2)
    seen = np.lib.stride_tricks.sliding_window_view(weight > 0.0, 4, axis=0).all(axis=-1)
    out = np.zeros(points.shape[1])
    for joint in range(points.shape[1]):
        values = third[seen[:, joint], joint]
        # The lower quartile of |third difference|: the calm moments tell noise from movement.
        out[joint] = np.quantile(values, 0.25) / (0.5 * np.sqrt(20.0)) if len(values) >= 5 else 0.0
    return out


def velocity_noise(kernel: float, spacing: float) -> float:
    """Standard deviation of the fitted slope for position noise of 1, in 1 / s."""
    frames = 2.0 * np.sqrt(np.pi) * kernel / spacing
    return float(1.0 / (kernel * np.sqrt(0.5 * frames)) * np.sqrt(0.5))


def arrivals(
    speed: Array, known: NDArray[np.bool_], rate: float, kernel: float, floor: float
) -> tuple[Array, Array]:
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
    forward = np.maximum(speed, 0.0)
    tops, _ = signal.find_peaks(np.concatenate([[0.0], forward, [0.0]]), prominence=floor)
    tops = tops - 1
    times, strengths = [], []
    ends = np.append(tops, len(speed) - 1)[1:]
    for top, end in zip(tops, ends, strict=True):
        fall = forward[top : end + 1]
        low = int(np.argmin(fall))
        drop = fall[0] - fall[low]
        if drop < floor or not known[top : top + low + 1].all():
            continue
        high, middle, small = (level_time(fall[: low + 1], fall[low] + part * drop) for part in (0.7, 0.5, 0.3))
        end_time = stop_time(middle, (small - high) / rate, rate, kernel)
        turn = turning_time(speed, int(top), 0.2 * drop, rate)
        times.append(top / rate + (end_time if turn is None else turn))
        strengths.append(strength(drop, (small - high) / rate, floor))
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


def stop_time(middle: float, width: float, rate: float, kernel: float) -> float:
    """Seconds after the top at which a movement stands still.

    The line through the fall's 70 % and 30 % reaches zero 1.25 widths after its half. A stop at once looks 1.05
    kernels wide, with its half at the stop; that much of the width is smoothing and is taken off.
    """
    real = np.sqrt(max(width**2 - (1.05 * kernel) ** 2, 0.0))
    return float(middle / rate + 1.25 * real)


def turning_time(speed: Array, top: int, rebound: float, rate: float) -> float | None:
    """Seconds after the top at which movement turns back, or None where it merely stops.

    It turns back where, soon after the zero crossing, the speed the other way passes ``rebound``.
    """
    behind = np.flatnonzero(speed[top:] <= 0.0)
    if len(behind) == 0:
        return None
    i = top + int(behind[0])
    if speed[i : i + max(2, round(0.12 * rate))].min() > -rebound:
        return None
    return float((i - 1 + speed[i - 1] / (speed[i - 1] - speed[i]) - top) / rate)


def strength(drop: float, width: float, floor: float) -> float:
    """How much one arrival counts, 0 to 1."""
    excess = drop - 0.5 * floor
    quick = min(1.0, 0.08 / max(width, 1e-3))
    return float(excess / (excess + 1.5) * quick)


def cast(envelope: Array, times: Array, strengths: Array, rate: float) -> None:
    """Add a Gaussian of each arrival's strength to the envelope."""
    reach = int(np.ceil(4.0 * CAST_SECONDS * rate))
    for time, value in zip(times, strengths, strict=True):
        centre = round(time * rate)
        index = np.arange(max(centre - reach, 0), min(centre + reach + 1, len(envelope)))
        envelope[index] += value * np.exp(-0.5 * ((index / rate - time) / CAST_SECONDS) ** 2)
