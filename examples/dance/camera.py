"""A pinhole camera that may pan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .skeleton import Array


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from.

    Attributes
    ----------
    size
        (width, height) of the picture in pixels.
    position
        World metres.
    target
        The point in the middle of the picture when the camera does not pan.
    focal
        Focal length in pixels.
    pan, tilt
        Amplitudes in radians of a slow sway of the view to the sides and up and down.
    period
        Seconds of one sway.
    shake
        Size in radians of the unrest of a hand that holds the camera; `hand` is the seed of its course.
    hand
        See `shake`.
    """

    size: tuple[int, int] = (360, 480)
    position: tuple[float, float, float] = (0.0, -5.2, 1.25)
    target: tuple[float, float, float] = (0.0, 0.0, 0.93)
    focal: float = 940.0
    pan: float = 0.0
    tilt: float = 0.0
    period: float = 5.0
    shake: float = 0.0
    hand: int = 0

    @property
    def moves(self) -> bool:
        """Whether the view changes with time."""
        return bool(self.pan or self.tilt or self.shake)

    def _unrest(self, times: Array) -> Array:
        """(2, T) radians to the side and up: a few slow waves of random phase, weaker the faster they are."""
        rng = np.random.default_rng([self.hand, 77])
        frequencies = rng.uniform(0.2, 2.5, (2, 6))
        waves = np.sin(2 * np.pi * (frequencies[..., None] * times + rng.random((2, 6, 1))))
        found: Array = self.shake * (waves / (1 + frequencies[..., None] ** 2)).sum(1)
        return found

    def axes(self, times: Array) -> Array:
        """(T, 3, 3) with rows right, down, forward of the camera in world axes."""
        direction = np.subtract(self.target, self.position)
        yaw = np.arctan2(direction[0], direction[1]) + self.pan * np.sin(2 * np.pi * times / self.period)
        pitch = np.arctan2(direction[2], np.hypot(direction[0], direction[1]))
        pitch = pitch + self.tilt * np.sin(2 * np.pi * times / (0.73 * self.period) + 1.0)
        if self.shake:
            aside, up = self._unrest(times)
            yaw, pitch = yaw + aside, pitch + up
        forward = np.stack([np.cos(pitch) * np.sin(yaw), np.cos(pitch) * np.cos(yaw), np.sin(pitch)], axis=-1)
        right = np.stack([np.cos(yaw), -np.sin(yaw), np.zeros_like(yaw)], axis=-1)
        return np.stack([right, np.cross(forward, right), forward], axis=-2)

    def project(self, points: Array, times: Array) -> Array:
        """World points (T, K, 3) to (T, K, 3): pixel x, pixel y (pixel centres at .5), distance along the view."""
        seen = np.einsum("tab,tkb->tka", self.axes(times), points - np.array(self.position))
        depth = seen[..., 2]
        x = self.focal * seen[..., 0] / depth + self.size[0] / 2
        y = self.focal * seen[..., 1] / depth + self.size[1] / 2
        return np.stack([x, y, depth], axis=-1)

    def scaled(self, factor: int) -> Camera:
        """The same view with `factor` times as many pixels each way."""
        return replace(self, size=(self.size[0] * factor, self.size[1] * factor), focal=self.focal * factor)

    def describe(self) -> dict[str, object]:
        """What a reader of the truth file needs to project points again."""
        unrest = {"shake_rad": self.shake, "hand": self.hand} if self.shake else {}
        return {
            "position_m": list(self.position),
            "target_m": list(self.target),
            "focal_px": self.focal,
            "pan_rad": self.pan,
            "tilt_rad": self.tilt,
            "period_s": self.period,
            **unrest,
        }
