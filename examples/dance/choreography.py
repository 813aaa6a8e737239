"""The dances of the examples, and their keypoints at any frame rate without drawing anything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import numpy as np

from .camera import Camera
from .figure import Motion, Transforms, solve
from .moves import FAMILIES
from .skeleton import Array, load_skeleton
from .stage import Stage
from .timeline import Accent, beat_times, plan_accents


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
        One of AIST's ten genres, or None where nobody named it.
    bpm, first_beat, seconds
        Tempo of the music it is danced to (None where it is not known), time of the first beat, length.
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
    genre: str | None
    bpm: float | None
    first_beat: float
    seconds: float
    parts: tuple[tuple[str, int], ...]
    dancers: tuple[Dancer, ...]
    camera: Camera = field(default_factory=Camera)
    fps: int = 30
    seed: int = 0
    jitter: float = 0.010
    missed: float = 0.06
    off: float = 0.05

    def beats(self) -> Array:
        """Times of the music's beats in seconds; none where the tempo is not known."""
        if self.bpm is None:
            return np.zeros(0)
        return beat_times(self.bpm, self.first_beat, self.seconds)

    def times(self, fps: float | None = None) -> Array:
        """Time of each frame in seconds."""
        rate = fps or self.fps
        return np.arange(round(self.seconds * rate)) / rate

    def accents(self, dancer: int = 0) -> list[Accent]:
        """What one dancer dances of the beat, in and around the clip."""
        if self.bpm is None:
            return []
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
        if who.travel and self.bpm is not None:
            motion = _travel(motion, times, who, self.bpm, self.first_beat)
        return motion

    def transforms(self, dancer: int, times: Array) -> Transforms:
        """Where the joints of one dancer are at the given times."""
        return solve(load_skeleton(self.dancers[dancer].body), self.motion(dancer, times))

    def world_keypoints(self, dancer: int, times: Array) -> Array:
        """COCO keypoints of one dancer in world metres, (T, 17, 3)."""
        skeleton = load_skeleton(self.dancers[dancer].body)
        transforms = self.transforms(dancer, times)
        return skeleton.keypoints(transforms.rotations, transforms.translations)

    def pixel_keypoints(self, dancer: int, times: Array) -> Array:
        """COCO keypoints of one dancer in pixels, (T, 17, 2)."""
        return self.camera.project(self.world_keypoints(dancer, times), times)[..., :2]


def _family_at(count: int, parts: tuple[tuple[str, int], ...]) -> str:
    """Name of the family that has a beat of the repeating plan."""
    position = count % sum(beats for _, beats in parts)
    for name, beats in parts:
        if position < beats:
            return name
        position -= beats
    raise ValueError("parts must hold beats")


def _dance_parts(stage: Stage, accents: list[Accent], parts: tuple[tuple[str, int], ...]) -> None:
    """Give each family its share of the accents, in turn."""
    runs = [(name, list(run)) for name, run in groupby(accents, lambda accent: _family_at(accent.count, parts))]
    for name, run in runs:
        FAMILIES[name](stage, run)
    # Families that bounce leave the beat between two runs to neither of them.
    for (name, run), (_, following) in pairwise(runs):
        on, next_on = ([a for a in accents if not a.off] for accents in (run, following))
        if on and next_on and name not in ("lock", "krump"):
            stage.bounce([on[-1], next_on[0]], 0.05)


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
_CLEO = Dancer("cleo", Outfit(shirt=(0.2, 0.55, 0.6), trousers=(0.12, 0.12, 0.14), hair=(0.35, 0.2, 0.1),
                              long_hair=True, sleeve=0.8))  # fmt: skip
_DAN = Dancer("dan", Outfit(shirt=(0.9, 0.9, 0.9), trousers=(0.35, 0.38, 0.28), skin=(0.72, 0.52, 0.40), loose=0.022,
                            stripe=(0.2, 0.3, 0.7), sleeve=0.45))  # fmt: skip

_WIDE = Camera(size=(480, 480), position=(0.0, -5.6, 1.3), target=(0.0, 0.0, 0.92), focal=830.0)

DANCES: dict[str, Dance] = {
    dance.name: dance
    for dance in (
        Dance("groove_104", "middle hip-hop", 104, 0.31, 12.0, (("groove", 16), ("two_step", 8)), (_BEN,), seed=1),
        Dance("lock_112", "lock", 112, 0.22, 12.0, (("lock", 32),), (_DAN,), seed=2),
        Dance("waack_124_pan", "waack", 124, 0.17, 12.0, (("waack", 16), ("wave", 8)), (_ADA,),
              Camera(size=(480, 480), pan=0.055, tilt=0.012, period=6.0), seed=3),
        Dance("duo_96", "la style hip-hop", 96, 0.40, 12.0, (("groove", 12), ("two_step", 8)), (
            replace(_CLEO, home=(-0.54, 0.0), travel=((4, 0, 0), (7, 0.55, 0.5), (10, 1.1, 0.0))),
            replace(_BEN, home=(0.54, 0.0), travel=((4, 0, 0), (7, -0.55, -0.3), (10, -1.1, 0.0))),
        ), _WIDE, seed=4),
        Dance("house_120_60fps", "house", 120, 0.13, 10.0, (("house", 16), ("two_step", 8)), (_CLEO,), fps=60, seed=5),
        Dance("krump_88_24fps", "krump", 88, 0.35, 12.0, (("krump", 16),), (_DAN,),
              Camera(size=(400, 480), target=(0.0, 0.0, 1.0), focal=900.0), fps=24, seed=6),
        Dance("toprock_132", "break", 132, 0.09, 12.0, (("toprock", 24), ("groove", 8)), (_BEN,),
              Camera(size=(480, 480)), seed=7),
    )
}  # fmt: skip
"""The dances by name."""


def keypoints(name: str, fps: float, dancer: int = 0) -> Array:
    """COCO keypoints in pixels of a dance by name, seen at `fps` frames a second, (T, 17, 2); needs no Anny."""
    dance = DANCES[name]
    return dance.pixel_keypoints(dancer, dance.times(fps))
