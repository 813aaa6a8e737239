"""What a pose network would report of known keypoints: jitter, lost joints, swapped sides, misplaced points.

Sizes follow what MoveNet shows on the example videos, whose keypoints are known (errors of 0.01 to 0.06 torso lengths,
correlated over about four frames at 30 fps, with 0.003 to 0.008 on top that is not), and reach to several times that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from .skeleton import Array

SIDES = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
"""Left and right joints of COCO."""
SPREAD = np.array([0.5] * 5 + [0.8] * 2 + [1.5] * 2 + [1.7] * 2 + [1.0] * 2 + [0.8] * 2 + [0.9] * 2)
"""How unsure each joint is beside the others."""
CORRELATION = 0.12
"""Seconds over which the slow part of the error persists."""


@dataclass(frozen=True)
class Observer:
    """How good the eye is.

    Attributes
    ----------
    slow, fast
        Standard deviations of the persisting and of the frame-to-frame error, in torso lengths.
    lost
        Times a second that one of the joints is lost for a moment.
    outliers
        Times a second that one of the joints is misplaced.
    swaps
        Times a second that left and right are taken for one another.
    blind
        Times a second that nothing is seen.
    sureness
        Usual score of a joint.
    """

    slow: float = 0.03
    fast: float = 0.006
    lost: float = 0.5
    outliers: float = 0.2
    swaps: float = 0.03
    blind: float = 0.02
    sureness: float = 0.8


def draw_observer(rng: np.random.Generator) -> Observer:
    """A pose network on some footage, by chance."""
    return Observer(
        slow=float(np.exp(rng.uniform(np.log(0.012), np.log(0.06)))),
        fast=float(np.exp(rng.uniform(np.log(0.003), np.log(0.02)))),
        lost=float(rng.uniform(0, 1.5)),
        outliers=float(rng.uniform(0, 0.6)),
        swaps=float(rng.uniform(0, 0.12)),
        blind=float(rng.uniform(0, 0.06)),
        sureness=float(rng.uniform(0.6, 0.9)),
    )


def mirrored(points: Array, width: float) -> Array:
    """Keypoints (T, 17, 2) of the picture seen in a mirror: the left hand is where the right one was."""
    out = points.copy()
    out[..., 0] = width - points[..., 0]
    for left, right in SIDES:
        out[:, [left, right]] = out[:, [right, left]]
    return out


def observe(points: Array, fps: float, size: tuple[int, int], eye: Observer, rng: np.random.Generator) -> Array:
    """Keypoints with scores, (T, 17, 3), as a network would report them of true ones (T, 17, 2) in pixels."""
    count = len(points)
    torso = np.linalg.norm(points[:, 5:7].mean(1) - points[:, 11:13].mean(1), axis=1)
    scale = float(np.quantile(torso, 0.75))
    seen = points.copy()
    scores = eye.sureness * (1 - 0.08 * SPREAD) + 0.08 * _persisting(count, 17, fps, rng)
    for start, stop in _spells(eye.swaps, 0.12, count, fps, rng):
        pairs = SIDES[2:] if rng.random() < 0.4 else (SIDES[5:] if rng.random() < 0.6 else SIDES[2:5])
        for left, right in pairs:
            seen[start:stop, [left, right]] = seen[start:stop, [right, left]]
    slow = _persisting(count, 34, fps, rng).reshape(count, 17, 2)
    seen += scale * SPREAD[:, None] * (eye.slow * slow + eye.fast * rng.normal(size=seen.shape))
    for start, stop in _spells(eye.outliers, 0.05, count, fps, rng):
        joint = int(rng.integers(17))
        seen[start:stop, joint] += scale * rng.uniform(0.5, 1.8) * _direction(rng)
        scores[start:stop, joint] *= rng.uniform(0.3, 1.0)
    for start, stop in _spells(eye.lost, 0.15, count, fps, rng):
        joint = int(rng.choice(17, p=SPREAD / SPREAD.sum()))
        seen[start:stop, joint] += scale * 0.3 * rng.normal(size=2)
        scores[start:stop, joint] = rng.uniform(0.0, 0.15)
    for start, stop in _spells(eye.blind, 0.06, count, fps, rng):
        scores[start:stop] *= rng.uniform(0.0, 0.3)
    outside = (points < 0).any(-1) | (points > np.array(size)).any(-1)
    seen = np.clip(seen, -2.0 * max(size), 3.0 * max(size))
    scores[outside] = np.minimum(scores[outside], rng.uniform(0.02, 0.25, int(outside.sum())))
    return np.concatenate([seen, np.clip(scores, 0.0, 1.0)[..., None]], axis=-1)


def _persisting(count: int, width: int, fps: float, rng: np.random.Generator) -> Array:
    """(count, width) noise of standard deviation 1 that decays with `CORRELATION`."""
    keep = float(np.exp(-1.0 / (CORRELATION * fps)))
    noise = rng.normal(size=(count, width))
    noise[1:] *= np.sqrt(1 - keep**2)
    found: Array = lfilter([1.0], [1.0, -keep], noise, axis=0)
    return found


def _spells(rate: float, mean: float, count: int, fps: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random stretches of frames, (start, stop): so many a second, of some mean length in seconds, at least a frame."""
    number = int(rng.poisson(rate * count / fps))
    starts = rng.integers(0, count, number)
    lengths = 1 + rng.exponential(max(mean * fps - 1, 0.1), number).astype(int)
    return [(int(start), int(min(start + length, count))) for start, length in zip(starts, lengths, strict=True)]


def _direction(rng: np.random.Generator) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
