"""The dancer as a set of channels, with the verbs that choreography is written in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .figure import Motion
from .skeleton import Array
from .timeline import CLOCK, MARGIN, Accent, Channel

Point = tuple[float, float]

ARMS: dict[str, tuple[float, float, float, float, float, float]] = {
    "low": (0.30, 0.00, -1.0, 0.22, 0.40, -0.9),
    "guard": (0.42, 0.05, -0.9, 0.05, 1.0, 0.25),
    "swing": (0.38, 0.35, -0.85, -0.15, 0.9, 0.35),
    "back": (0.45, -0.45, -0.8, 0.35, 0.15, -0.9),
    "side": (1.0, 0.08, 0.02, 1.0, 0.12, 0.02),
    "wide": (0.9, 0.15, -0.35, 0.9, 0.35, 0.1),
    "high": (0.75, 0.1, 0.75, 0.6, 0.15, 0.85),
    "up": (0.40, 0.08, 0.9, 0.15, 0.05, 1.0),
    "muscle": (0.98, 0.1, 0.05, 0.12, 0.2, 1.0),
    "lock": (0.75, 0.25, -0.55, -0.15, 0.55, -0.75),
    "point": (0.75, 0.35, 0.55, 0.75, 0.35, 0.6),
    "point_low": (0.65, 0.4, -0.65, 0.65, 0.4, -0.65),
    "hip": (0.85, -0.25, -0.55, -0.55, 0.25, -0.6),
    "chest": (0.72, 0.5, -0.25, -0.6, 0.75, 0.2),
    "cross_out": (0.35, 0.85, -0.3, -0.75, 0.6, 0.25),
    "cross_in": (0.40, 0.55, -0.5, -0.8, 0.45, 0.15),
    "front": (0.35, 1.0, 0.0, 0.15, 1.0, 0.1),
    "behind": (0.78, 0.12, 0.6, -0.5, -0.05, 0.75),
    "strike": (0.45, 0.7, -0.6, 0.2, 0.8, -0.6),
    "load": (0.7, 0.2, 0.55, -0.1, 0.35, 0.95),
    "whip_down": (0.75, 0.3, -0.5, 0.8, 0.45, -0.35),
    "clap": (0.25, 0.85, -0.35, -0.32, 0.95, 0.15),
    "box_in": (1.0, 0.15, 0.0, -0.9, 0.45, 0.05),
    "box_down": (1.0, 0.1, 0.05, 0.1, 0.15, -1.0),
    "box_out": (0.3, 0.2, -0.95, 1.0, 0.25, 0.05),
    "knees": (0.35, 0.6, -0.75, 0.0, 0.45, -0.9),
}
"""Arm poses: direction of the upper arm, then of the forearm, each as (outward, forward, up) of the chest."""


class Stage:
    """Collects what a dancer does; positions are metres from the dancer's home in the dancer's facing."""

    def __init__(self, seconds: float, home: Point, facing: float, rng: np.random.Generator) -> None:
        self.rng = rng
        self.home = home
        self.facing = facing
        self.stance = 0.15
        self.weight = Channel(seconds, (0.0, 0.0))
        self.height = Channel(seconds, (0.0,))
        self.leap = Channel(seconds, (0.0,))
        self.turn = Channel(seconds, (0.0, 0.0, 0.0))
        self.chest = Channel(seconds, (0.0, 0.0, 0.0))
        self.head = Channel(seconds, (0.0, 0.0, 0.0))
        self.places = {s: Channel(seconds, (sign * self.stance, 0.0)) for s, sign in (("L", 1), ("R", -1))}
        self.lifts = {s: Channel(seconds, (0.0,)) for s in "LR"}
        self.toes = {s: Channel(seconds, (0.0,)) for s in "LR"}
        self.heels = {s: Channel(seconds, (0.0,)) for s in "LR"}
        self.arms = {s: Channel(seconds, ARMS["low"]) for s in "LR"}

    def bounce(self, accents: Sequence[Accent], depth: float, nod: float = 0.12) -> None:
        """Knees give way into every beat: lowest, with a sharp turn, at the accent; the head nods with them."""
        on = [a for a in accents if not a.off]
        for this, following in pairwise(on):
            gap = following.time - this.time
            self.height.arc(this.time, following.time, (depth * min(gap / 0.5, 1.15),))
            self.head.arc(this.time, following.time, (0.0, -nod, 0.0))
        if on:
            self.height.hit(on[0].time, (-depth,), 0.4)

    def pose_arms(
        self, time: float, left: str, right: str, lead: float = 0.24, power: float = 2.4, vary: float = 0.06
    ) -> None:
        """Both arms hit named poses; no two hits are quite alike."""
        for side, name in (("L", left), ("R", right)):
            value = np.array(ARMS[name]) + self.rng.normal(0, vary, 6)
            self.arms[side].hit(time, value, lead, power)

    def step(
        self, time: float, side: str, to: Point, turn: float = 0.0, lift: float = 0.07, lasts: float = 0.26
    ) -> None:
        """A foot leaves the floor and lands, hard, at `time`."""
        self.places[side].hit(time, to, lasts, 1.4, 0.0)
        self.toes[side].hit(time, (turn,), lasts, 1.4, 0.0)
        self.lifts[side].arc(time - lasts, time, (lift,))
        self.heels[side].arc(time - lasts, time, (min(4.0 * lift, 0.5),))

    def kick(self, time: float, side: str, to: Point, height: float, lead: float = 0.24, hold: float = 0.12) -> None:
        """A foot is thrown out, stops in the air at `time`, and goes back where it was kept by the next step."""
        self.places[side].hit(time, to, lead, 2.0, 0.0)
        self.lifts[side].hit(time, (height,), lead, 2.0, 0.0)
        self.heels[side].hit(time, (0.15,), lead, 2.0, 0.0)
        self.lifts[side].hit(time + hold + 0.16, (0.0,), 0.16, 1.3, 0.0)
        self.heels[side].hit(time + hold + 0.16, (0.0,), 0.16, 1.3, 0.0)

    def jump(self, time: float, height: float) -> None:
        """Land at `time` from a jump of `height` metres."""
        flight = 2 * float(np.sqrt(2 * height / 9.81))
        self.leap.arc(time - flight, time, (height,))

    def shift(self, time: float, to: Point, lead: float, power: float = 1.6) -> None:
        """The weight arrives over a point of the floor."""
        self.weight.hit(time, to, lead, power, 0.0)

    def lean(
        self,
        time: float,
        turn: float = 0.0,
        forward: float = 0.0,
        side: float = 0.0,
        lead: float = 0.25,
        power: float = 2.0,
    ) -> None:
        """The chest turns left, leans forward and to the left against the pelvis; the head stays to the front."""
        self.chest.hit(time, (turn, forward, side), lead, power)
        self.head.hit(time, (-0.6 * turn, -0.5 * forward, -0.5 * side), lead, power, 0.0)

    def face(self, time: float, turn: float, tilt: float = 0.0, lead: float = 0.35, power: float = 1.8) -> None:
        """The pelvis turns to the dancer's left by `turn` and leans left by `tilt`."""
        self.turn.hit(time, (turn, 0.0, tilt), lead, power, 0.02)

    def sway(self, amount: float = 1.0) -> None:
        """Slow wandering that no body is free of; below 0.8 Hz, so it has no accents of its own."""
        for channel, size in ((self.weight, 0.008), (self.turn, 0.02), (self.chest, 0.025), (self.head, 0.03)):
            channel.add(amount * size * self._wander(len(channel.clock), channel.width))
        for side in "LR":
            self.arms[side].add(amount * 0.05 * self._wander(len(self.arms[side].clock), 6))

    def _wander(self, count: int, width: int) -> Array:
        noise: Array = gaussian_filter1d(self.rng.normal(size=(count, width)), 0.3 * CLOCK, axis=0)
        return noise / max(float(noise.std()), 1e-9)

    def motion(self, times: Array) -> Motion:
        """All channels read at the given times, in world coordinates."""

        def read(channel: Channel) -> Array:
            values = channel.values()
            return np.column_stack([np.interp(times, channel.clock, values[:, i]) for i in range(channel.width)])

        if times.min() < -MARGIN or times.max() > self.height.clock[-1]:
            raise ValueError("times reach beyond what was composed")
        cosine, sine = np.cos(self.facing), np.sin(self.facing)
        to_world = np.array([[cosine, -sine], [sine, cosine]])
        home = np.array(self.home)
        leap = read(self.leap)
        feet = []
        for side in "LR":
            place = home + read(self.places[side]) @ to_world.T
            toes = read(self.toes[side]) + self.facing
            height = np.maximum(read(self.lifts[side]) + leap, 0)
            feet.append(np.column_stack([place, height, toes, read(self.heels[side])]))
        turn = read(self.turn)
        turn[:, 0] += self.facing
        pelvis = np.column_stack([home + read(self.weight) @ to_world.T, read(self.height) + leap])
        arms = (read(self.arms["L"]), read(self.arms["R"]))
        return Motion(pelvis, turn, read(self.chest), read(self.head), (feet[0], feet[1]), arms)
