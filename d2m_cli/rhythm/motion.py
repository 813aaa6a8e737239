"""Velocities of a dancer's joints on an even clock: camera and body size taken out, misplaced joints weighted away."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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
FILLED_SECONDS, FILLED_WEIGHT = 0.15, 0.3
"""A joint that is lost for no longer than this follows a smooth curve, at this weight."""
BRIDGED_SECONDS = 0.1
"""Where a speed is still unknown for no longer than this, it is drawn straight on."""
LEAP, FASTEST = 0.35, 10.0
"""Torso lengths, and torso lengths a second, that the middle one of all joints does not move from frame to frame."""
AROUND = 2
"""Frames by which a leap must outlast itself: shorter, the joints were misplaced."""
FEWEST_SEEN = 4
"""Of the nose and eight pairs of joints, so many have to be seen before and after a leap."""


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


def resample(track: PoseTrack, camera: CameraMotion | None, steps: int, rate: float) -> Motion:
    """Velocities on an even clock: camera and body size taken out, misplaced and unsure joints weighted away.

    Where the film cuts to another shot, all joints leap; no velocity is read across that.
    """
    points = stabilise(track, camera)
    weight = np.clip((track.keypoints[..., 2].astype(np.float64) - LOW_SCORE) / (FULL_SCORE - LOW_SCORE), 0.0, 1.0)
    spacing = float(np.median(np.diff(track.times))) if len(track.times) > 1 else 1.0 / rate
    kernel = max(KERNEL_SECONDS, KERNEL_FRAMES * spacing)
    bounds = [0, *find_cuts(points, weight, track.times), len(track.times)]
    velocity, known, noise = np.zeros((steps, 17, 2)), np.zeros((steps, 17), dtype=bool), np.zeros(17)
    for first, end in pairwise(bounds):
        shot = slice(first, end)
        # A shot's first and last frame bound what it tells, but those of the film.
        low = 0 if first == 0 else int(np.ceil(track.times[first] * rate))
        high = steps if end == len(track.times) else min(steps, int(track.times[end - 1] * rate) + 1)
        if high <= low:
            continue
        clock = np.arange(low, high) / rate
        parts = shot_velocity(track.times[shot], points[shot], weight[shot], clock, rate, kernel, spacing)
        velocity[low:high], known[low:high] = parts[:2]
        noise = np.maximum(noise, parts[2])
    return Motion(velocity, known, rate, kernel, noise)


def shot_velocity(
    times: Array, points: Array, weight: Array, clock: Array, rate: float, kernel: float, spacing: float
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Velocity, known and noise of `Motion` for one shot, on the steps of a clock."""
    size = body_size(points, weight, times)
    weight = weight * ~misplaced(points, weight, size)
    points, weight = fill_short_gaps(points, weight, times)
    velocity, known = local_velocity(times, points, weight, clock, kernel, spacing)
    bridge(velocity, known, round(BRIDGED_SECONDS * rate))
    scale = np.interp(clock, times, size)
    noise = jitter(points / size[:, None, None], weight) * velocity_noise(kernel, spacing)
    return velocity / scale[:, None, None], known, noise


def find_cuts(points: Array, weight: Array, times: Array) -> list[int]:
    """Frames that begin another shot: from the one before, most joints leap farther than a body can, and stay there.

    Parameters
    ----------
    points
        (T, 17, 2) pixels.
    weight
        (T, 17), 0 where a joint was not seen.
    times
        (T,) seconds.
    """
    if len(times) < 2 * AROUND + 2:
        return []
    size = body_size(points, weight, times)
    farthest = np.maximum(LEAP, FASTEST * np.diff(times))
    # Frame k + 1 beside k, and what lies some frames further on either side.
    near = leaps(points[:-1], points[1:], weight[:-1], weight[1:]) / size[1:]
    far = np.zeros(len(near))
    before, after = slice(0, -2 * AROUND - 1), slice(2 * AROUND + 1, None)
    far[AROUND:-AROUND] = (
        leaps(points[before], points[after], weight[before], weight[after]) / size[AROUND + 1 : -AROUND]
    )
    return [int(k) + 1 for k in np.flatnonzero((near > farthest) & (far > farthest))]


def leaps(before: Array, after: Array, seen_before: Array, seen_after: Array) -> Array:
    """Median distance of what is seen in both, (n,): the nose, and the middles of pairs, which no confusion of left and
    right moves; 0 where too little is seen."""
    both = (seen_before > 0.0) & (seen_after > 0.0)
    both = np.concatenate([both[:, :1], both[:, 1::2] & both[:, 2::2]], axis=1)
    enough = both.sum(axis=1) >= FEWEST_SEEN
    moved = after - before
    moved = np.concatenate([moved[:, :1], 0.5 * (moved[:, 1::2] + moved[:, 2::2])], axis=1)
    distance = np.where(both, np.linalg.norm(moved, axis=2), np.nan)
    out = np.zeros(len(both))
    out[enough] = np.nanmedian(distance[enough], axis=1)
    return out


def stabilise(track: PoseTrack, camera: CameraMotion | None) -> Array:
    """(T, 17, 2) pixels of the first frame's camera."""
    points = track.keypoints[..., :2].astype(np.float64)
    if camera is None or len(camera.times) == 0:
        return points
    flat = camera.transforms.reshape(len(camera.times), 6)
    at = np.stack([np.interp(track.times, camera.times, flat[:, k]) for k in range(6)], axis=1).reshape(-1, 2, 3)
    steady: Array = np.einsum("tab,tjb->tja", at[:, :, :2], points) + at[:, None, :, 2]
    return steady


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
    from scipy import ndimage

    coarse = np.arange(times[0], times[-1] + 0.1, 0.1)
    values = np.interp(coarse, times[good], length[good])
    size = min(len(coarse), round(seconds / 0.1))
    values = ndimage.percentile_filter(values, 75, size=size, mode="nearest")
    values = ndimage.gaussian_filter1d(values, 10.0, mode="nearest")
    return np.asarray(np.interp(times, coarse, values), dtype=np.float64)


def misplaced(points: Array, weight: Array, size: Array) -> NDArray[np.bool_]:
    """(T, 17) joints that jump away from their neighbours in time and back."""
    from scipy import ndimage

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


def fill_short_gaps(points: Array, weight: Array, times: Array) -> tuple[Array, Array]:
    """Points and weights in which joints that were lost for a moment follow a smooth curve, at little weight.

    A few frames decide each fit; without these stand-ins a single lost one would leave it undetermined.
    """
    from scipy.interpolate import Akima1DInterpolator

    points, weight = points.copy(), weight.copy()
    for joint in range(points.shape[1]):
        seen = np.flatnonzero(weight[:, joint] > 0.0)
        if len(seen) < 4 or len(seen) == len(times):
            continue
        lost = np.flatnonzero(weight[:, joint] <= 0.0)
        after = np.searchsorted(seen, lost)
        inner = (after > 0) & (after < len(seen))
        lost, after = lost[inner], after[inner]
        lost = lost[times[seen[after]] - times[seen[after - 1]] <= FILLED_SECONDS]
        points[lost, joint] = Akima1DInterpolator(times[seen], points[seen, joint])(times[lost])
        weight[lost, joint] = FILLED_WEIGHT
    return points, weight


def local_velocity(
    times: Array, points: Array, weight: Array, clock: Array, kernel: float, spacing: float
) -> tuple[Array, NDArray[np.bool_]]:
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
    Velocity (n, J, 2) in pixels a second, 0 where not known, and whether it is known (n, J).
    """
    n, joints = len(clock), weight.shape[1]
    velocity = np.zeros((n, joints, 2))
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
        good = (count >= 3) & (s[..., 0] >= enough) & (before > 0.3 * s[..., 0]) & (after > 0.3 * s[..., 0])
        system = np.stack([s[..., 0:3], s[..., 1:4], s[..., 2:5]], axis=-2) + 1e-9 * np.eye(3)
        system[~good] = np.eye(3)
        fit = np.linalg.solve(system, np.where(good[..., None, None], y, 0.0))
        velocity[part], known[part] = fit[..., 1, :] / kernel, good
    return velocity, known


def bridge(velocity: Array, known: NDArray[np.bool_], longest: int) -> None:
    """Draw velocities straight on, in place, where a joint is unknown for at most ``longest`` steps."""
    for joint in range(known.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[True], known[:, joint], [True]]).astype(np.int8)))
        for start, stop in edges.reshape(-1, 2):
            if start == 0 or stop == len(known) or stop - start > longest:
                continue
            share = (np.arange(1, stop - start + 1) / (stop - start + 1))[:, None]
            velocity[start:stop, joint] = (1.0 - share) * velocity[start - 1, joint] + share * velocity[stop, joint]
            known[start:stop, joint] = True


def jitter(points: Array, weight: Array) -> Array:
    """(J,) standard deviation of frame-to-frame noise in one coordinate, robust against movement."""
    if len(points) < 5:
        return np.zeros(points.shape[1])
    # Third differences of smooth movement are small; of white noise they have variance 20.
    third = np.abs(np.diff(points, 3, axis=0)).mean(axis=2)
    whole = weight > 0.0
    seen: NDArray[np.bool_] = whole[:-3] & whole[1:-2] & whole[2:-1] & whole[3:]
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
