"""Dances to given music: who dances what before which camera, for each split of the paired data.

Everything follows from the split, the number of the song in it and the number of the dance to it. No move family, body
or camera is in two splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .camera import Camera
from .choreography import Dance, Dancer, Outfit
from .figure import Motion
from .further_moves import ALL_FAMILIES
from .observer import draw_observer, mirrored, observe
from .phrasing import Phrasing, draw_phrasing, phrase
from .skeleton import Array
from .stage import ARMS, Point, Stage
from .timeline import Accent

SPLITS = ("train", "validation", "test")
FAMILIES_OF: dict[str, tuple[str, ...]] = {
    "train": ("groove", "two_step", "lock", "waack", "house", "krump", "charleston", "jacks", "march", "hips", "tut",
              "roll", "skate", "freestyle"),
    "validation": ("wave", "lunge"),
    "test": ("toprock", "pivot"),
}  # fmt: skip
BODIES_OF: dict[str, tuple[str, ...]] = {
    "train": ("ada", "ben", "cleo", "dan", "eli", "fay", "gus", "hana"),
    "validation": ("ines", "jon"),
    "test": ("kim", "lou"),
}
CAMERAS_OF: dict[str, tuple[str, ...]] = {
    "train": tuple(f"train_{i:02d}" for i in range(64)),
    "validation": tuple(f"validation_{i}" for i in range(8)),
    "test": tuple(f"test_{i}" for i in range(8)),
}
SONG_SEEDS = {"train": 5_000_000, "validation": 10_500_000, "test": 10_600_000}
"""First seed of each split's songs; the backbone never learns from seeds of 10,000,000 and more."""
FRAME_RATES = (24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60.0)
DRAWN_SIZES = ((240, 320), (288, 320), (320, 320))
SIZES = ((720, 1280), (1280, 720), (1080, 1080), (1920, 1080), (480, 640), (640, 480))
LONGEST_BOUNCE = 0.8
"""Seconds before an accent within which a bounce starts; before that the dancer holds still."""


@dataclass(frozen=True)
class Setup:
    """A camera and whether its picture is mirrored."""

    name: str
    camera: Camera
    mirror: bool


@dataclass(frozen=True)
class PairedDance(Dance):
    """A dance to a piece of music, in the ways of `phrasing`.

    Attributes
    ----------
    style
        What the dancer makes of the beat.
    size, haste
        Factors on how far, and on how long, all moves go.
    mirror
        Whether the picture is mirrored.
    setup
        Name of the camera.
    """

    style: Phrasing = field(default_factory=Phrasing)
    size: float = 1.0
    haste: float = 1.0
    mirror: bool = False
    setup: str = ""

    def accents(self, dancer: int = 0) -> list[Accent]:
        """What the dancer marks, in and around the clip."""
        if self.bpm is None:
            return []
        return phrase(
            self.bpm, self.first_beat, self.seconds, self.style, np.random.default_rng([self.seed, dancer, 0])
        )

    def motion(self, dancer: int, times: Array) -> Motion:
        """What the dancer does at the given times."""
        who = self.dancers[dancer]
        rng = np.random.default_rng([self.seed, dancer, 1])
        stage = StyledStage(self.seconds, who.home, who.facing, rng, self.size, self.haste)
        runs = groupby(self.accents(dancer), lambda accent: self._family_at(accent.count))
        for name, run in [(name, list(run)) for name, run in runs]:
            ALL_FAMILIES[name](stage, run)
        stage.sway()
        return stage.motion(times)

    def _family_at(self, count: int) -> str:
        position = count % sum(beats for _, beats in self.parts)
        for name, beats in self.parts:
            if position < beats:
                return name
            position -= beats
        raise ValueError("parts must hold beats")


class StyledStage(Stage):
    """A stage on which a dancer moves larger or smaller, quicker or slower than usual, and holds still when waiting."""

    def __init__(
        self, seconds: float, home: Point, facing: float, rng: np.random.Generator, size: float, haste: float
    ) -> None:
        super().__init__(seconds, home, facing, rng)
        self.size = size
        self.haste = haste
        self.vary = float(rng.uniform(0.04, 0.14))

    def bounce(self, accents: Sequence[Accent], depth: float, nod: float = 0.12) -> None:
        """As `Stage.bounce`; before a late accent the dancer first waits."""
        depth *= self.size
        on = [a for a in accents if not a.off]
        for this, following in pairwise(on):
            start = max(this.time, following.time - LONGEST_BOUNCE)
            gap = following.time - start
            self.height.arc(start, following.time, (depth * min(gap / 0.5, 1.15),))
            self.head.arc(start, following.time, (0.0, -nod, 0.0))
        if on:
            self.height.hit(on[0].time, (-depth,), 0.4)

    def pose_arms(
        self, time: float, left: str, right: str, lead: float = 0.24, power: float = 2.4, vary: float = 0.06
    ) -> None:
        """As `Stage.pose_arms`, with the dancer's own variation."""
        for side, name in (("L", left), ("R", right)):
            value = np.array(ARMS[name]) + self.rng.normal(0, self.vary, 6)
            self.arms[side].hit(time, value, lead * self.haste, power)

    def step(
        self, time: float, side: str, to: Point, turn: float = 0.0, lift: float = 0.07, lasts: float = 0.26
    ) -> None:
        """As `Stage.step`."""
        super().step(time, side, (self.size * to[0], self.size * to[1]), turn, self.size * lift, lasts * self.haste)

    def shift(self, time: float, to: Point, lead: float, power: float = 1.6) -> None:
        """As `Stage.shift`."""
        super().shift(time, (self.size * to[0], self.size * to[1]), lead * self.haste, power)

    def lean(
        self,
        time: float,
        turn: float = 0.0,
        forward: float = 0.0,
        side: float = 0.0,
        lead: float = 0.25,
        power: float = 2.0,
    ) -> None:
        """As `Stage.lean`."""
        super().lean(time, self.size * turn, self.size * forward, self.size * side, lead * self.haste, power)


def camera_setup(name: str, drawn: bool) -> Setup:
    """The camera of a name; `drawn` ones take small pictures."""
    split, number = name.rsplit("_", 1)
    rng = np.random.default_rng([SPLITS.index(split), int(number), 4711])
    sizes = DRAWN_SIZES if drawn else SIZES
    size = sizes[int(rng.integers(len(sizes)))]
    aside = float(np.radians(rng.uniform(-50, 50)))
    distance, height = float(rng.uniform(3.2, 7.5)), float(rng.uniform(0.5, 2.3))
    target_height = float(rng.uniform(0.92, 1.02))
    fill = float(rng.uniform(0.72, 0.92)) * (1.1 if drawn else float(rng.choice([0.5, 0.75, 1.0], p=[0.2, 0.3, 0.5])))
    focal = fill * min(size[1] / 2.35, size[0] / 2.05) * (distance - 0.3)
    if not drawn and rng.random() < 0.1:
        focal, target_height = 1.4 * focal, target_height + 0.25  # feet out of the picture
    motion = str(rng.choice(["still", "pan", "hand", "both"], p=[0.4, 0.2, 0.25, 0.15]))
    pan, tilt = (float(rng.uniform(0.02, 0.07)), float(rng.uniform(0, 0.02))) if motion in ("pan", "both") else (0, 0)
    if drawn:
        pan, tilt = 0.5 * pan, 0.5 * tilt
    camera = Camera(
        size=size,
        position=(distance * float(np.sin(aside)), -distance * float(np.cos(aside)), height),
        target=(float(rng.uniform(-0.08, 0.08)), 0.0, target_height),
        focal=focal,
        pan=pan,
        tilt=tilt,
        period=float(rng.uniform(4, 9)),
        shake=float(rng.uniform(0.001, 0.005)) if motion in ("hand", "both") else 0.0,
        hand=int(rng.integers(1 << 30)),
    )
    return Setup(name, camera, bool(rng.random() < 0.35))


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Clothes, hair and skin by chance."""

    def colour(low: float, high: float) -> tuple[float, float, float]:
        red, green, blue = rng.uniform(low, high, 3)
        return float(red), float(green), float(blue)

    tone = rng.uniform(0.3, 1.0)
    return Outfit(
        shirt=colour(0.1, 0.95),
        trousers=colour(0.08, 0.45),
        shoes=colour(0.2, 0.95),
        hair=(0.45 * float(rng.random()) + 0.05, 0.15, 0.08),
        skin=(float(0.84 * tone), float(0.64 * tone**1.15), float(0.52 * tone**1.3)),
        stripe=colour(0.1, 0.9) if rng.random() < 0.3 else None,
        sleeve=float(rng.choice([0.2, 0.4, 0.8])),
        loose=float(rng.uniform(0.008, 0.022)),
        long_hair=bool(rng.random() < 0.5),
    )


def paired_dance(
    name: str, split: str, song: int, number: int, genre: str, bpm: float, start: float, seconds: float
) -> PairedDance:
    """The dance of a number to a song of a split.

    Parameters
    ----------
    name
        Of the clip.
    split, song, number
        What all chance follows from.
    genre, bpm
        Of the music, whose first beat is at 0.
    start, seconds
        Where in the music the clip begins, and how long it is.
    """
    shared = np.random.default_rng([SPLITS.index(split), song])
    rng = np.random.default_rng([SPLITS.index(split), song, number])
    families, bodies, cameras = FAMILIES_OF[split], BODIES_OF[split], CAMERAS_OF[split]
    # The first dances go through the families in turn; a further one to the same song is of another family.
    main, order = families[song % len(families)], shared.permutation(len(families))
    if number > 0:
        other = families[(int(order[0]) + song + number) % len(families)]
        main = other if other != main else families[(song + 1) % len(families)]
    parts: tuple[tuple[str, int], ...] = ((main, 16),)
    if split == "train" and rng.random() < 0.35:
        parts = ((main, 16), (families[int(rng.integers(len(families)))], 8))
    drawn = split != "train"
    body = bodies[int(shared.integers(len(bodies)) + number * (1 + song % 3)) % len(bodies)]
    setup = camera_setup(cameras[int(shared.integers(len(cameras)) + 7 * number) % len(cameras)], drawn)
    period = 60.0 / bpm
    return PairedDance(
        name=name,
        genre=genre,
        bpm=bpm,
        first_beat=float((-start) % period),
        seconds=seconds,
        parts=parts,
        dancers=(Dancer(body, draw_outfit(rng), facing=float(rng.normal(0, 0.15))),),
        camera=setup.camera,
        fps=25,
        seed=int(rng.integers(1 << 30)),
        style=draw_phrasing(rng),
        size=float(rng.uniform(0.75, 1.25)),
        haste=float(rng.uniform(0.75, 1.15)),
        mirror=setup.mirror,
        setup=setup.name,
    )


def camera_motion(camera: Camera, times: Array, mirror: bool) -> Array:
    """(T, 2, 3) best affine maps from each frame's pixels to those of the first frame, for what is far away."""
    width, height = camera.size
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, width, 5), np.linspace(0, height, 5)))
    rays = np.column_stack([x - width / 2, y - height / 2, np.full(len(x), camera.focal)])
    axes = camera.axes(times)
    turned = np.einsum("ab,tcb,nc->tna", axes[0], axes, rays)
    seen = camera.focal * turned[..., :2] / turned[..., 2:] + np.array([width / 2, height / 2])
    if mirror:
        x, seen = width - x, np.stack([width - seen[..., 0], seen[..., 1]], axis=-1)
    fit = np.linalg.pinv(np.column_stack([x, y, np.ones(len(x))]))
    found: Array = np.einsum("kn,tna->tak", fit, seen)
    return found


@dataclass(frozen=True)
class Observation:
    """Keypoints with scores (T, 17, 3), frame times (T,), the camera's motion (T, 2, 3) or None, and picture size."""

    keypoints: Array
    times: Array
    camera: Array | None
    size: tuple[int, int]


def observe_dance(dance: PairedDance) -> Observation:
    """What a pose network would report of a dance that nobody drew, at a frame rate by chance."""
    rng = np.random.default_rng([dance.seed, 2])
    fps = float(FRAME_RATES[int(rng.integers(len(FRAME_RATES)))])
    times = np.arange(int(dance.seconds * fps)) / fps
    points = dance.pixel_keypoints(0, times)
    size = dance.camera.size
    if dance.mirror:
        points = mirrored(points, size[0])
    seen = observe(points, fps, size, draw_observer(rng), rng)
    motion = None
    if dance.camera.moves:
        motion = camera_motion(dance.camera, times, dance.mirror)
        drift = gaussian_filter1d(rng.normal(0, 1, (len(times), 2)), 0.3 * fps, axis=0)
        motion[..., 2] += 0.004 * size[1] * (drift - drift[0])
    return Observation(seen, times, motion, size)
