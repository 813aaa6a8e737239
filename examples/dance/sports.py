"""What people film that is no dance: rope jumping, kicks of martial arts, cartwheels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .choreography import Dance
from .figure import Motion, Transforms
from .moves import Family, gaps
from .rotation import about
from .skeleton import Array, load_skeleton
from .stage import Stage
from .timeline import MARGIN, Accent

SINK = 0.04
"""Seconds from the landing of a jump to the lowest point, where the accent is."""
HOP = 0.045
"""Height in metres of a jump over a rope."""
ROPE_SAG = 1.05
"""Radius in metres of the arc that the middle of the rope flies round the line between the hands."""
SOLE = 0.05
"""Height in metres of the lowest joint of a body whose hands or feet stand on the floor."""


def flight(height: float) -> float:
    """Seconds in the air of a jump of `height` metres."""
    return 2 * float(np.sqrt(2 * height / 9.81))


def _skip(stage: Stage, accents: Sequence[Accent], turns_a_jump: float) -> None:
    stage.stance = 0.07
    for side, sign in (("L", 1), ("R", -1)):
        stage.places[side].hit(-MARGIN, (sign * 0.07, 0.0), 0.01, 1.0, 0.0)
    for accent, gap in gaps(accents):
        height = min(HOP, 0.3 * gap**2)
        land = accent.time - SINK
        stage.jump(land, height)
        stage.height.hit(land - flight(height), (-0.015,), min(0.14, 0.3 * gap), 1.3, 0.0)
        stage.height.hit(accent.time, (-0.05,), SINK, 0.8, 0.0)
        for side in "LR":
            stage.heels[side].hit(land - flight(height), (0.35,), 0.1, 1.3, 0.0)
            stage.heels[side].hit(accent.time, (0.18,), SINK, 1.0, 0.0)
    _turn_the_rope(stage, accents, turns_a_jump)


def rope_phase(accents: Sequence[Accent], turns_a_jump: float, times: Array) -> Array:
    """Turns of the rope at given times, (T,); whole where it passes under the feet, in the middle of a flight."""
    at = np.array([a.time - SINK - 0.5 * flight(HOP) for a in accents])
    return np.asarray(np.interp(times, at, turns_a_jump * np.arange(len(at))))


def _turn_the_rope(stage: Stage, accents: Sequence[Accent], turns_a_jump: float) -> None:
    clock = stage.arms["L"].clock
    angle = 2 * np.pi * rope_phase(accents, turns_a_jump, clock)
    for side in "LR":
        stage.arms[side].hit(-MARGIN, (0.32, -0.12, -0.95, 0.72, 0.45, -0.45), 0.01, 1.0, 0.0)
        circle = np.zeros((len(clock), 6))
        # The hands lead the rope by a little; forward and down when it passes under the feet.
        circle[:, 4], circle[:, 5] = 0.20 * np.sin(angle + 0.5), -0.22 * np.cos(angle + 0.5)
        stage.arms[side].add(circle)


def rope(stage: Stage, accents: Sequence[Accent]) -> None:
    """Both feet over the rope, one turn a jump."""
    _skip(stage, accents, 1.0)


def double_bounce(stage: Stage, accents: Sequence[Accent]) -> None:
    """The rope goes round once for two jumps."""
    _skip(stage, accents, 0.5)


def kicks(stage: Stage, accents: Sequence[Accent]) -> None:
    """Guard, jab, cross, front kick, without a steady pulse: the accents are wherever they are."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.5, 0.18)
        count = accent.count % 4
        if count == 0:
            stage.pose_arms(t, "front", "guard", lead, 2.6)
            stage.step(t, "L", (0.14, -0.20), 0.2, 0.04, 0.2)
            stage.lean(t, -0.3, 0.1, 0.0, lead)
        elif count == 1:
            stage.pose_arms(t, "guard", "front", lead, 2.6)
            stage.lean(t, 0.45, 0.15, 0.0, lead)
            stage.face(t, 0.3, 0.0, lead)
        elif count == 2:
            stage.kick(t, "R", (-0.14, -0.62), 0.75, lead, 0.10)
            stage.pose_arms(t, "guard", "guard", lead)
            stage.lean(t, 0.0, -0.3, 0.0, lead)
        else:
            stage.step(t, "R", (-0.15, 0.05), -0.2, 0.05, 0.2)
            stage.face(t, 0.0, 0.0, lead)
            stage.lean(t, 0.0, 0.1, 0.0, lead)
            stage.pose_arms(t, "guard", "guard", lead)


SPORTS: dict[str, Family] = {"rope": rope, "double_bounce": double_bounce, "kicks": kicks}


@dataclass(frozen=True)
class Sport(Dance):
    """One of `SPORTS` from the first accent to the last.

    Attributes
    ----------
    family
        Which.
    unsteady
        Standard deviation of the time between accents, as a share of it; 0 keeps the beat.
    """

    family: str = "rope"
    unsteady: float = 0.0

    def accents(self, dancer: int = 0) -> list[Accent]:
        """See `Dance.accents`; unsteady ones wander off."""
        planned = super().accents(dancer)
        if not self.unsteady or not planned:
            return planned
        rng = np.random.default_rng([self.seed, dancer, 2])
        steps = [b.time - a.time for a, b in pairwise(planned)]
        wild = np.clip(1 + self.unsteady * rng.normal(size=len(steps)), 0.5, 2.0) * steps
        times = planned[0].time + np.concatenate([[0.0], np.cumsum(wild)])
        return [Accent(float(t), a.count, a.off) for t, a in zip(times, planned, strict=True)]

    def motion(self, dancer: int, times: Array) -> Motion:
        """See `Dance.motion`."""
        who = self.dancers[dancer]
        stage = Stage(self.seconds, who.home, who.facing, np.random.default_rng([self.seed, dancer, 1]))
        SPORTS[self.family](stage, self.accents(dancer))
        stage.sway()
        return stage.motion(times)

    def rope(self, times: Array, points: int = 40) -> Array:
        """World points of the rope from the left hand to the right, (T, points, 3)."""
        hands = self.world_keypoints(0, times)[:, [9, 10]]
        along = np.linspace(0.0, 1.0, points)
        line = hands[:, :1] + along[None, :, None] * (hands[:, 1:] - hands[:, :1])
        turns = 2 * np.pi * rope_phase(self.accents(), 0.5 if self.family == "double_bounce" else 1.0, times)
        bulge = ROPE_SAG * np.sqrt(np.clip(1 - (2 * along - 1) ** 2, 0, 1))
        # Down under the feet at whole turns, then up behind the back.
        line[..., 1] += bulge * np.sin(turns)[:, None]
        line[..., 2] -= bulge * np.cos(turns)[:, None]
        line[..., 2] = np.maximum(line[..., 2], 0.01)
        return np.asarray(line)


@dataclass(frozen=True)
class Cartwheels(Dance):
    """Sideways over the hands and back on the feet, to one side and back to the other, one in four beats."""

    def _at(self, times: Array) -> Array:
        """Radians turned at given times."""
        assert self.bpm is not None
        period = 60.0 / self.bpm
        beats = (np.asarray(times) - self.first_beat) / period
        wheel, within = np.floor(beats / 4), beats % 4
        part = np.clip((within - 1.0) / 2.5, 0.0, 1.0)
        turned = part * part * (3 - 2 * part)
        return np.asarray(2 * np.pi * np.where(wheel % 2 == 0, turned, 1 - turned))

    def motion(self, dancer: int, times: Array) -> Motion:
        """A star: arms up and out, legs apart; `transforms` turns it."""
        who = self.dancers[dancer]
        stage = Stage(self.seconds, who.home, who.facing, np.random.default_rng([self.seed, dancer, 1]))
        spread = 0.15 + 0.35 * np.sin(0.5 * self._at(stage.places["L"].clock)) ** 2
        for side, sign in (("L", 1), ("R", -1)):
            stage.places[side].add(np.column_stack([sign * (spread - stage.stance), np.zeros_like(spread)]))
            stage.arms[side].hit(-MARGIN, (0.45, 0.0, 0.9, 0.35, 0.0, 0.95), 0.01, 1.0, 0.0)
        stage.sway()
        return stage.motion(times)

    def transforms(self, dancer: int, times: Array) -> Transforms:
        """The star rolled sideways about its hips, with whatever is lowest on the floor."""
        star = super().transforms(dancer, times)
        angle = self._at(times)
        turn = about(1, angle)
        hips = np.array([self.dancers[dancer].home[0], 0.0, 0.95])
        rotations = np.einsum("tab,tjbc->tjac", turn, star.rotations)
        translations = np.einsum("tab,tjb->tja", turn, star.translations - hips) + hips
        lowest = load_skeleton(self.dancers[dancer].body).keypoints(rotations, translations)[..., 2].min(1)
        travel = np.column_stack([0.9 * angle / np.pi - 0.9, np.zeros(len(times)), SOLE - lowest])
        return Transforms(rotations, translations + travel[:, None])
