"""The dances of the examples, and their keypoints at any frame rate without drawing anything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .camera import Camera
from .figure import Motion, solve
from .moves import FAMILIES
from .skeleton import Array, load_skeleton
from .stage import Stage
from .timeline import MARGIN, Accent, beat_times, plan_accents


@dataclass(frozen=True)
class Outfit:
    """Colours as (r, g, b) from 0 to 1, and the cut of the clothes."""

    shirt: tuple[float, float, float] = (0.75, 0.2, 0.2)
    trousers: tuple[float, float, float] = (0.16, 0.18, 0.28)
    shoes: tuple[float, float, float] = (0.92, 0.92, 0.9)
    hair: tuple[float, float, float] = (0.12, 0.08, 0.06)
    skin: tuple[float, float, float] = (0.80, 0.60, 0.48)
    stripe: tuple[float, float, float] | None = None
    sleeve: float = 0.3
    leg: float = 1.0
    loose: float = 0.012
    long_hair: bool = False


@dataclass(frozen=True)
class Dancer:
    """Who dances, and where.

    Attributes
    ----------
    body
        Name of a body in `body.SHAPES`.
    outfit
        Clothes.
    home
        Place on the floor in metres.
    facing
        Turn to the dancer's left in radians; 0 faces the camera.
    travel
        Places (time in beats from the first, x, y) to be reached; the dancer moves there step by step.
    """

    body: str
    outfit: Outfit = field(default_factory=Outfit)
    home: tuple[float, float] = (0.0, 0.0)
    facing: float = 0.0
    travel: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Dance:
    """One choreographed clip.

    Attributes
    ----------
    name
        Stem of its files.
    genre
        One of AIST's ten genres.
    bpm, first_beat, seconds
        Tempo of the music it is danced to, time of the first beat, length.
    parts
        Move families and how many beats each lasts; they repeat until the end.
    dancers
        Who dances.
    camera, fps
        How it is filmed.
    seed
        Seed of everything human about it.
    jitter, missed, off
        See `timeline.plan_accents`.
    """

    name: str
    genre: str
    bpm: float
    first_beat: float
    seconds: float
    parts: tuple[tuple[str, int], ...]
    dancers: tuple[Dancer, ...]
    camera: Camera = Camera()
    fps: int = 30
    seed: int = 0
    jitter: float = 0.010
    missed: float = 0.06
    off: float = 0.05

    def beats(self) -> Array:
        """Times of the music's beats in seconds."""
        return beat_times(self.bpm, self.first_beat, self.seconds)

    def times(self, fps: float | None = None) -> Array:
        """Time of each frame in seconds."""
        rate = fps or self.fps
        return np.arange(int(round(self.seconds * rate))) / rate

    def accents(self, dancer: int = 0) -> list[Accent]:
        """What one dancer dances of the beat, in and around the clip."""
        rng = np.random.default_rng([self.seed, dancer, 0])
        return plan_accents(self.bpm, self.first_beat, self.seconds, rng, self.jitter, self.missed, self.off)

    def accent_times(self, dancer: int = 0) -> Array:
        """Danced accents within the clip in seconds."""
        times = np.array([a.time for a in self.accents(dancer)])
        return times[(times >= 0) & (times < self.seconds)]

    def motion(self, dancer: int, times: Array) -> Motion:
        """What one dancer does at the given times."""
        who = self.dancers[dancer]
        rng = np.random.default_rng([self.seed, dancer, 1])
        stage = Stage(self.seconds, who.home, who.facing, rng)
        accents = self.accents(dancer)
        _dance_parts(stage, accents, self.parts)
        stage.sway()
        motion = stage.motion(times)
        if who.travel:
            motion = _travel(motion, times, who, self.bpm, self.first_beat)
        return motion

    def world_keypoints(self, dancer: int, times: Array) -> Array:
        """COCO keypoints of one dancer in world metres, (T, 17, 3)."""
        skeleton = load_skeleton(self.dancers[dancer].body)
        transforms = solve(skeleton, self.motion(dancer, times))
        return skeleton.keypoints(transforms.rotations, transforms.translations)

    def pixel_keypoints(self, dancer: int, times: Array) -> Array:
        """COCO keypoints of one dancer in pixels, (T, 17, 2)."""
        return self.camera.project(self.world_keypoints(dancer, times), times)[..., :2]


def _dance_parts(stage: Stage, accents: list[Accent], parts: tuple[tuple[str, int], ...]) -> None:
    """Give each family its share of the accents, in turn."""
    length = sum(beats for _, beats in parts)
    runs: list[tuple[str, list[Accent]]] = []
    for accent in accents:
        position = accent.count % length
        for name, beats in parts:
            if position < beats:
                break
            position -= beats
        if not runs or runs[-1][0] != name or (position == 0 and not accent.off and len(parts) > 1):
            if runs and runs[-1][0] == name:
                runs[-1][1].append(accent)
                continue
            runs.append((name, []))
        runs[-1][1].append(accent)
    for i, (name, run) in enumerate(runs):
        following = runs[i + 1][1][:1] if i + 1 < len(runs) else []
        # Bounces need the accent that ends the run; the next family lands there again.
        FAMILIES[name](stage, run)
        on = [a for a in run if not a.off]
        if on and following and name not in ("lock", "krump"):
            stage.bounce([on[-1], following[0]], 0.05)


def _travel(motion: Motion, times: Array, who: Dancer, bpm: float, first: float) -> Motion:
    """Carry a whole motion across the floor along a smooth path."""
    at = first + np.array([stop[0] for stop in who.travel]) * 60 / bpm
    offset = np.zeros((len(times), 2))
    for start, end, a, b in zip(at, at[1:], who.travel, who.travel[1:], strict=False):
        phase = np.clip((times - start) / (end - start), 0, 1)
        ease = phase * phase * (3 - 2 * phase)
        offset += np.outer(ease, np.subtract(b[1:], a[1:]))
    pelvis = motion.pelvis.copy()
    pelvis[:, :2] += offset
    feet = tuple(np.column_stack([foot[:, :2] + offset, foot[:, 2:]]) for foot in motion.feet)
    return replace(motion, pelvis=pelvis, feet=(feet[0], feet[1]))


_ADA = Dancer("ada", Outfit(shirt=(0.82, 0.22, 0.25), trousers=(0.17, 0.2, 0.32), long_hair=True, sleeve=0.2))
_BEN = Dancer("ben", Outfit(shirt=(0.93, 0.75, 0.2), trousers=(0.2, 0.2, 0.22), skin=(0.55, 0.38, 0.28), loose=0.02))
_CLEO = Dancer("cleo", Outfit(shirt=(0.2, 0.55, 0.6), trousers=(0.12, 0.12, 0.14), hair=(0.35, 0.2, 0.1), long_hair=True,
                              sleeve=0.8))  # fmt: skip
_DAN = Dancer("dan", Outfit(shirt=(0.9, 0.9, 0.9), trousers=(0.35, 0.38, 0.28), skin=(0.72, 0.52, 0.40), loose=0.022,
                            stripe=(0.2, 0.3, 0.7), sleeve=0.45))  # fmt: skip

_WIDE = Camera(size=(480, 480), position=(0.0, -5.6, 1.3), target=(0.0, 0.0, 0.92), focal=920.0)

DANCES: dict[str, Dance] = {
    dance.name: dance
    for dance in (
        Dance("groove_104", "middle hip-hop", 104, 0.31, 12.0, (("groove", 16), ("two_step", 8)), (_BEN,), seed=1),
        Dance("lock_112", "lock", 112, 0.22, 12.0, (("lock", 32),), (_DAN,), seed=2),
        Dance("waack_124_pan", "waack", 124, 0.17, 12.0, (("waack", 16), ("wave", 8)), (_ADA,),
              Camera(size=(480, 480), pan=0.055, tilt=0.012, period=6.0), seed=3),
        Dance("duo_96", "la style hip-hop", 96, 0.40, 12.0, (("two_step", 8), ("groove", 8)), (
            replace(_CLEO, home=(-0.42, 0.0), travel=((3, 0, 0), (7, 0.45, 0.5), (11, 0.86, 0.0))),
            replace(_BEN, home=(0.42, 0.0), travel=((3, 0, 0), (7, -0.45, -0.3), (11, -0.86, 0.0))),
        ), _WIDE, seed=4),
        Dance("house_120_60fps", "house", 120, 0.13, 10.0, (("house", 16), ("two_step", 8)), (_CLEO,), fps=60, seed=5),
        Dance("krump_88_24fps", "krump", 88, 0.35, 12.0, (("krump", 16),), (_DAN,),
              Camera(size=(400, 480)), fps=24, seed=6),
        Dance("toprock_132", "break", 132, 0.09, 12.0, (("toprock", 24), ("groove", 8)), (_BEN,),
              Camera(size=(480, 480)), seed=7),
    )
}  # fmt: skip
"""The dances by name."""


def keypoints(name: str, fps: float, dancer: int = 0) -> Array:
    """COCO keypoints in pixels of a dance by name as seen at `fps` frames a second, (T, 17, 2); needs numpy and scipy alone."""
    dance = DANCES[name]
    return dance.pixel_keypoints(dancer, dance.times(fps))


__all__ = ["DANCES", "MARGIN", "Dance", "Dancer", "Outfit", "keypoints"]
