"""More move families, for the paired data of `weights/recipes/make_pairs.py`; they read like those of `moves`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .moves import FAMILIES, Family, gaps
from .stage import Stage
from .timeline import Accent

SINK = 0.045
"""Seconds from the landing of a jump to the lowest point, where it stops."""


def charleston(stage: Stage, accents: Sequence[Accent]) -> None:
    """Charleston: kick to the front, step back, touch behind, step up; arms swing against the legs."""
    stage.bounce(accents, 0.055, 0.08)
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.6, 0.3)
        if accent.off:
            stage.pose_arms(t, "wide", "wide", 0.16)
            continue
        count = accent.count % 8
        side = 1 if count < 4 else -1
        name, other = ("L", "R") if side > 0 else ("R", "L")
        if count % 4 == 0:
            stage.kick(t, name, (side * 0.26, -0.42), 0.34, min(lead, 0.26), 0.05)
            stage.shift(t, (-side * 0.05, 0.03), lead)
            stage.lean(t, -side * 0.2, -0.12, -side * 0.05, lead)
        elif count % 4 == 1:
            stage.step(t, name, (side * 0.14, 0.06), side * 0.1, 0.08, 0.24)
            stage.shift(t, (side * 0.08, 0.0), lead)
            stage.lean(t, side * 0.15, 0.1, 0.0, lead)
        elif count % 4 == 2:
            stage.kick(t, other, (-side * 0.30, 0.30), 0.22, min(lead, 0.26), 0.05)
            stage.shift(t, (side * 0.06, -0.03), lead)
            stage.lean(t, side * 0.25, 0.25, side * 0.06, lead)
        else:
            stage.step(t, other, (-side * 0.15, 0.0), 0.0, 0.08, 0.24)
            stage.shift(t, (0.0, 0.0), lead)
            stage.lean(t, -side * 0.1, 0.05, 0.0, lead)
        arms = ("side", "front") if (count % 2 == 0) == (side > 0) else ("front", "side")
        stage.pose_arms(t, *(arms if count % 2 == 0 else ("guard", "guard")), lead, 2.2)


def jacks(stage: Stage, accents: Sequence[Accent]) -> None:
    """Jumping jacks: both feet land wide with the arms up, then together with the arms down."""
    for accent, gap in gaps(accents):
        t = accent.time
        if accent.off:
            stage.pose_arms(t, "muscle", "muscle", 0.16)
            continue
        height = 0.05 if gap < 0.45 else 0.085
        flight = 2 * float(np.sqrt(2 * height / 9.81))
        wide = accent.count % 2 == 0
        land = t - SINK
        stage.height.hit(land - flight, (-0.01,), min(0.2, 0.4 * gap), 1.3, 0.0)
        stage.jump(land, height)
        stage.height.hit(t, (-0.10 if wide else -0.07,), SINK, 0.8, 0.0)
        for side, sign in (("L", 1), ("R", -1)):
            stage.places[side].hit(land, (sign * (0.32 if wide else 0.09), 0.0), flight, 1.3, 0.0)
        shapes = (("high", "high"), ("low", "low"), ("side", "side"), ("chest", "chest"))[accent.count % 4]
        stage.pose_arms(t, *shapes, min(0.8 * gap, 0.28), 2.2)
        stage.lean(t, 0.0, 0.12 if wide else 0.2, 0.0, min(gap * 0.6, 0.25))


def march(stage: Stage, accents: Sequence[Accent]) -> None:
    """Marching with high knees: a foot comes down on every beat, hands clap on every second one."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.6, 0.28)
        if accent.off:
            stage.pose_arms(t, "clap", "clap", 0.16)
            continue
        side = 1 if accent.count % 2 == 0 else -1
        name = "L" if side > 0 else "R"
        stage.step(t, name, (side * 0.15, -0.05 if accent.count % 4 < 2 else 0.05), side * 0.1, 0.26, min(gap, 0.4))
        stage.height.hit(t, (-0.05 - 0.02 * (accent.count % 4 == 0),), lead, 2.0)
        stage.height.hit(t + 0.6 * min(gap, 0.5), (-0.005,), 0.2, 1.5, 0.0)
        stage.shift(t, (side * 0.06, 0.0), lead)
        stage.lean(t, -side * 0.12, 0.08, side * 0.04, lead)
        stage.pose_arms(t, *(("clap", "clap") if side < 0 else ("wide", "wide")), lead, 2.4)


def hips(stage: Stage, accents: Sequence[Accent]) -> None:
    """Hips strike from side to side over small steps, the shoulders answer; forearms are kept in front."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.5, 0.22)
        if accent.off:
            stage.pose_arms(t, "chest", "chest", 0.16)
            continue
        count = accent.count % 8
        side = 1 if count % 2 == 0 else -1
        name = "L" if side > 0 else "R"
        stage.shift(t, (side * 0.13, 0.0), lead, 2.4)
        stage.face(t, side * 0.25, side * 0.2, lead, 2.4)
        stage.lean(t, -side * 0.3, 0.04, -side * 0.26, lead, 2.4)
        stage.height.hit(t, (-0.06 if count % 4 == 0 else -0.03,), lead, 2.2)
        if count in (0, 3, 4, 7):
            place = {0: (0.2, -0.16), 3: (-0.2, 0.14), 4: (0.15, 0.0), 7: (-0.15, 0.0)}[count]
            stage.step(t, name, place, side * 0.15, 0.05, 0.22)
        stage.pose_arms(t, *(("guard", "box_out") if side > 0 else ("box_out", "guard")), lead, 2.2)


def tut(stage: Stage, accents: Sequence[Accent]) -> None:
    """Tutting: the arms snap from one right angle to the next while the feet stay."""
    shapes = (
        ("muscle", "box_down"), ("box_in", "box_in"), ("box_down", "muscle"), ("muscle", "muscle"),
        ("box_in", "side"), ("box_down", "box_down"), ("side", "box_in"), ("clap", "clap"),
    )  # fmt: skip
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.4, 0.17)
        if accent.off:
            stage.lean(t, 0.0, -0.15, 0.0, 0.14)
            continue
        count = accent.count % 8
        stage.pose_arms(t, *shapes[count], lead, 2.6, 0.05)
        side = (0, 1, -1)[count % 3]
        stage.head.hit(t, (0.35 * side, 0.0, 0.12 * side), lead, 2.4)
        stage.chest.hit(t, (0.12 * side, 0.02, 0.10 * side), lead, 2.4)
        stage.height.hit(t, (-0.02 - 0.05 * (count % 4 == 3),), lead, 2.2)


def roll(stage: Stage, accents: Sequence[Accent]) -> None:
    """Body rolls seen from the side: head, chest and knees give way one after the other and stop low on the beat."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.75, 0.4)
        if accent.off:
            stage.pose_arms(t, "chest", "chest", 0.16)
            continue
        count = accent.count % 8
        side = 1 if count < 4 else -1
        if count % 4 == 0:
            name, other = ("R", "L") if side > 0 else ("L", "R")
            stage.face(t, side * 0.95, 0.0, lead)
            stage.step(t, name, (side * 0.05, -0.16), side * 0.8, 0.07, 0.26)
            stage.step(t + 0.02, other, (side * 0.05, 0.16), side * 0.8, 0.03, 0.24)
        low = count % 2 == 0
        stage.height.hit(t, (-0.17 if low else -0.03,), lead, 2.2, 0.03)
        stage.lean(t, side * (0.1 if low else -0.1), 0.55 if low else -0.12, 0.0, lead, 2.2)
        stage.weight.hit(t, (side * (-0.06 if low else 0.06), 0.0), lead, 1.8, 0.0)
        stage.pose_arms(t, *(("knees", "knees") if low else ("muscle", "hip")), lead, 2.2)


def skate(stage: Stage, accents: Sequence[Accent]) -> None:
    """Leaps from side to side that land on one foot, the other swept behind it."""
    for accent, gap in gaps(accents):
        t = accent.time
        if accent.off:
            stage.pose_arms(t, "side", "side", 0.16)
            continue
        side = 1 if accent.count % 2 == 0 else -1
        name, other = ("L", "R") if side > 0 else ("R", "L")
        flight, wide = min(0.3, 0.65 * gap), min(0.32, 0.5 * gap)
        land = t - SINK
        stage.leap.arc(land - flight, land, (0.05,))
        stage.shift(t, (side * wide, 0.0), flight, 1.3)
        stage.places[name].hit(land, (side * (wide + 0.06), 0.0), flight, 1.3, 0.0)
        stage.places[other].hit(land, (side * (wide - 0.16), 0.18), flight, 1.3, 0.0)
        stage.height.hit(land - flight, (-0.04,), 0.15, 1.3, 0.0)
        stage.height.hit(t, (-0.11,), SINK, 0.8, 0.0)
        stage.lean(t, side * 0.3, 0.3, -side * 0.08, min(0.6 * gap, 0.3))
        stage.pose_arms(t, *(("back", "swing") if side > 0 else ("swing", "back")), min(0.6 * gap, 0.3), 2.2)


def freestyle(stage: Stage, accents: Sequence[Accent]) -> None:
    """A phrase of eight counts put together by chance from steps, drops, leans and arm poses, then repeated."""
    rng = stage.rng
    poses = ("low", "guard", "swing", "back", "side", "wide", "high", "up", "muscle", "lock", "point", "hip", "chest",
             "front", "strike", "load", "clap", "box_in", "box_down")  # fmt: skip
    arms = [tuple(rng.choice(poses, 2, replace=False)) for _ in range(8)]
    leans = rng.normal(0, (0.2, 0.15, 0.12), (8, 3))
    turns = rng.normal(0, 0.2, 8) * (rng.random(8) < 0.5)
    drops = -rng.uniform(0.01, 0.14, 8)
    stepping, busy = rng.random(8) < rng.uniform(0.3, 1.0), rng.uniform(0.5, 1.0)
    places = rng.uniform((0.12, -0.2), (0.36, 0.15), (8, 2))
    if rng.random() < 0.5:
        stage.bounce(accents, float(rng.uniform(0.03, 0.08)), 0.08)
        drops *= 0
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.6, 0.28)
        if accent.off:
            stage.pose_arms(t, "chest", "chest", 0.16)
            continue
        count = accent.count % 8
        side = 1 if count % 2 == 0 else -1
        if rng.random() < busy:
            stage.pose_arms(t, str(arms[count][0]), str(arms[count][1]), lead, 2.4)
        stage.lean(t, *(float(angle) for angle in leans[count]), lead=lead)
        stage.face(t, float(turns[count]), 0.0, lead)
        if drops.any():
            stage.height.hit(t, (float(drops[count]),), lead, 2.2)
        if stepping[count]:
            aside, along = places[count]
            stage.step(t, "L" if side > 0 else "R", (side * float(aside), float(along)), side * 0.2, 0.08, 0.25)
            stage.shift(t, (side * float(aside) * 0.4, 0.0), lead)


def lunge(stage: Stage, accents: Sequence[Accent]) -> None:
    """Deep lunges to the sides with one arm reaching over, and back to the middle with the arms gathered."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.7, 0.36)
        if accent.off:
            stage.lean(t, 0.0, -0.1, 0.0, 0.16)
            continue
        count = accent.count % 4
        side = 1 if count < 2 else -1
        name = "L" if side > 0 else "R"
        if count % 2 == 0:
            stage.step(t, name, (side * 0.46, -0.05), side * 0.5, 0.07, 0.28)
            stage.shift(t, (side * 0.22, -0.02), lead)
            stage.height.hit(t, (-0.16,), lead, 2.2)
            stage.lean(t, side * 0.15, 0.1, -side * 0.3, lead)
            stage.pose_arms(t, *(("hip", "up") if side > 0 else ("up", "hip")), lead, 2.2)
        else:
            stage.step(t, name, (side * 0.12, 0.0), 0.0, 0.07, 0.28)
            stage.shift(t, (0.0, 0.0), lead)
            stage.height.hit(t, (-0.04,), lead, 1.8)
            stage.lean(t, 0.0, 0.25, 0.0, lead)
            stage.pose_arms(t, "cross_in", "cross_out", lead, 2.2)


def pivot(stage: Stage, accents: Sequence[Accent]) -> None:
    """Turns: a quarter on every accent, feet following, all the way round and back again; arms open and close."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.75, 0.36)
        if accent.off:
            stage.pose_arms(t, "chest", "chest", 0.16)
            continue
        count = accent.count % 8
        turn = 0.5 * float(np.pi) * (count if count <= 4 else 8 - count)
        across, along = 0.15 * float(np.cos(turn)), 0.15 * float(np.sin(turn))
        first, second = ("L", "R") if count % 2 == 0 else ("R", "L")
        for side, late in ((first, 0.0), (second, -0.03)):
            sign = 1 if side == "L" else -1
            stage.step(t + late, side, (sign * across, sign * along), turn, 0.06, min(0.3, 0.6 * gap))
        stage.face(t, turn, 0.0, lead, 1.8)
        stage.height.hit(t, (-0.09 if count % 2 == 0 else -0.04,), lead, 2.0)
        stage.lean(t, 0.0, 0.15 if count % 2 == 0 else -0.05, 0.0, lead)
        stage.pose_arms(t, *(("side", "side") if count % 2 == 0 else ("cross_out", "cross_in")), lead, 2.2)


ALL_FAMILIES: dict[str, Family] = {
    **FAMILIES,
    "charleston": charleston,
    "jacks": jacks,
    "march": march,
    "hips": hips,
    "tut": tut,
    "roll": roll,
    "skate": skate,
    "freestyle": freestyle,
    "lunge": lunge,
    "pivot": pivot,
}
"""Every move family by name."""
