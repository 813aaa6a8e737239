"""Move families: each dances a run of accents on a stage.

All take `(stage, accents)`; on-beat accents carry steps and the strong hits, off-beat ones a hit of the arms alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from .stage import Stage
from .timeline import Accent

Family = Callable[[Stage, Sequence[Accent]], None]


def gaps(accents: Sequence[Accent]) -> list[tuple[Accent, float]]:
    """Accents with the seconds since the one before."""
    if not accents:
        return []
    return [(accents[0], 0.5)] + [(b, b.time - a.time) for a, b in pairwise(accents)]


def groove(stage: Stage, accents: Sequence[Accent]) -> None:
    """Hip-hop groove: down on every beat, step and touch to the sides, arms swinging across."""
    stage.bounce(accents, 0.085, 0.2)
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.8, 0.4)
        if accent.off:
            stage.pose_arms(t, "chest", "chest", 0.18)
            continue
        count = accent.count % 4
        side = 1 if count in (0, 1) else -1
        name = "L" if side > 0 else "R"
        if count % 2 == 0:
            stage.step(t, name, (side * 0.30, 0.0), side * 0.2)
            stage.shift(t, (side * 0.15, 0.0), lead)
        else:
            other = "R" if name == "L" else "L"
            stage.step(t, other, (side * 0.02, 0.02), -side * 0.1)
            stage.shift(t, (side * 0.13, 0.0), lead)
        if count % 2 == 0:
            stage.pose_arms(t, *(("back", "swing") if side > 0 else ("swing", "back")), lead, 1.8)
            stage.lean(t, side * 0.3, 0.12, side * 0.06, lead)
        else:
            stage.pose_arms(t, *(("swing", "guard") if side > 0 else ("guard", "swing")), lead, 1.8)
            stage.lean(t, -side * 0.15, 0.2, -side * 0.04, lead)


def two_step(stage: Stage, accents: Sequence[Accent]) -> None:
    """Two-step with a twist of the torso: out, together, out, together, arms pumping."""
    stage.bounce(accents, 0.06)
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.75, 0.35)
        if accent.off:
            stage.pose_arms(t, "muscle", "muscle", 0.18)
            continue
        count = accent.count % 8
        side = 1 if count % 4 < 2 else -1
        name, other = ("L", "R") if side > 0 else ("R", "L")
        if count % 2 == 0:
            stage.step(t, name, (side * 0.36, -0.05), side * 0.35, 0.08)
            stage.shift(t, (side * 0.17, 0.0), lead)
            stage.face(t, side * 0.35, 0.05 * side, lead)
            stage.pose_arms(t, *(("wide", "chest") if side > 0 else ("chest", "wide")), lead)
            stage.lean(t, -side * 0.35, 0.05, 0.0, lead)
        else:
            stage.step(t, other, (side * 0.08, 0.03), 0.0, 0.06)
            stage.step(t + 0.01, name, (side * 0.3, 0.0), 0.1 * side, 0.0)
            stage.shift(t, (side * 0.19, 0.0), lead)
            stage.face(t, 0.0, 0.0, lead)
            stage.pose_arms(t, "guard", "guard", lead)
            stage.lean(t, side * 0.2, 0.12, 0.0, lead)


def lock(stage: Stage, accents: Sequence[Accent]) -> None:
    """Locking: fast throws of the arms that freeze on the beat."""
    shapes = (
        ("lock", "lock"), ("point", "hip"), ("lock", "lock"), ("hip", "point"),
        ("muscle", "muscle"), ("side", "chest"), ("chest", "side"), ("point_low", "high"),
    )  # fmt: skip
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.45, 0.2)
        if accent.off:
            stage.pose_arms(t, "chest", "chest", 0.15)
            continue
        count = accent.count % 8
        left, right = shapes[count]
        stage.pose_arms(t, left, right, lead, 2.6)
        down = left == "lock"
        side = (1 if left in ("point", "side") else -1) if left != right else 0
        stage.height.hit(t, (-0.11 if down else -0.03,), lead, 2.4)
        stage.lean(t, -side * 0.3, 0.38 if down else -0.05, side * 0.12, lead)
        stage.shift(t, (-side * 0.06, 0.0), lead, 2.0)
        if count in (1, 3):
            stage.step(t, "L" if count == 1 else "R", (side * 0.27, -0.04), side * 0.3, 0.06, 0.22)
        elif count in (2, 4):
            stage.step(t, "L" if count == 2 else "R", ((1 if count == 2 else -1) * 0.15, 0.0), 0.0, 0.05, 0.22)
        elif count == 6:
            stage.face(t, 0.25, 0.0, lead)
        elif count == 7:
            stage.face(t, 0.0, 0.0, lead)


def waack(stage: Stage, accents: Sequence[Accent]) -> None:
    """Waacking: arms whip round the head and strike out; hips answer."""
    stage.bounce(accents, 0.035, 0.06)
    shapes = (
        ("behind", "hip"), ("side", "hip"), ("behind", "behind"), ("high", "high"),
        ("hip", "behind"), ("hip", "side"), ("behind", "behind"), ("whip_down", "whip_down"),
    )  # fmt: skip
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.6, 0.28)
        if accent.off:
            stage.pose_arms(t, "muscle", "muscle", 0.16)
            continue
        count = accent.count % 8
        left, right = shapes[count]
        stage.pose_arms(t, left, right, lead, 2.6)
        side = 1 if count % 2 == 0 else -1
        stage.shift(t, (side * 0.07, 0.0), lead, 1.8)
        stage.face(t, side * 0.12, side * 0.13, lead)
        stage.lean(t, side * 0.1, -0.08 if left == "high" else 0.03, -side * 0.16, lead)
        if count in (0, 4):
            name, sign = ("L", 1) if count == 0 else ("R", -1)
            stage.step(t, name, (sign * 0.25, -0.06), sign * 0.3, 0.05, 0.22)
        elif count in (2, 6):
            name, sign = ("L", 1) if count == 2 else ("R", -1)
            stage.step(t, name, (sign * 0.14, 0.0), 0.1 * sign, 0.05, 0.22)


def house(stage: Stage, accents: Sequence[Accent]) -> None:
    """House: the torso jacks on every beat while the feet shuffle from side to side."""
    stage.bounce(accents, 0.07, 0.1)
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.85, 0.4)
        if accent.off:
            stage.pose_arms(t, "wide", "wide", 0.18)
            continue
        count = accent.count % 8
        side = 1 if count < 4 else -1
        name, other = ("L", "R") if side > 0 else ("R", "L")
        out = (0.28, 0.34, 0.28, 0.16)[count % 4]
        if count % 2 == 0:
            stage.step(t, name, (side * out, -0.10), side * 0.35, 0.09)
            stage.shift(t, (side * 0.10, -0.03), lead)
        else:
            stage.step(t, other, (-side * 0.08, 0.10), -side * 0.1, 0.09)
            stage.shift(t, (side * 0.02, 0.02), lead)
        jack = 0.30 if count % 2 == 0 else -0.08
        stage.lean(t, side * 0.2 * (1 if count % 2 else -1), jack, side * 0.06, lead)
        stage.pose_arms(t, *(("guard", "guard") if count % 2 == 0 else ("wide", "wide")), lead, 2.0)


def krump(stage: Stage, accents: Sequence[Accent]) -> None:
    """Krump: stomps, chest pops and arms that strike down; a jump lands on every eighth beat."""
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.5, 0.26)
        if accent.off:
            stage.lean(t, 0.0, -0.15, 0.0, 0.16)
            continue
        count = accent.count % 8
        side = 1 if count % 2 == 0 else -1
        name = "L" if side > 0 else "R"
        if count == 7:
            stage.height.hit(t - 0.42, (-0.16,), 0.22, 1.6, 0.0)
            stage.height.hit(t - 0.25, (0.0,), 0.14, 1.5, 0.0)
            stage.jump(t, 0.09)
            stage.height.hit(t + 0.10, (-0.14,), 0.12, 1.0, 0.0)
            stage.pose_arms(t - 0.2, "load", "load", 0.25)
            stage.pose_arms(t, "strike", "strike", 0.18, 2.6)
            stage.lean(t, 0.0, 0.3, 0.0, lead)
            continue
        stage.height.hit(t, (-0.13 if count % 4 != 3 else -0.03,), lead, 2.2)
        if count % 4 == 3:
            stage.pose_arms(t, "muscle", "muscle", lead, 2.6)
            stage.lean(t, 0.0, -0.22, 0.0, lead)
        else:
            stage.step(t, name, (side * 0.26, -0.10), side * 0.35, 0.17, 0.3)
            stage.shift(t, (side * 0.08, -0.04), lead)
            stage.lean(t, side * 0.35, 0.25, side * 0.08, lead)
            stage.pose_arms(t, *(("strike", "load") if side > 0 else ("load", "strike")), lead, 2.6)
            other = "R" if name == "L" else "L"
            stage.step(t + 0.02, other, (-side * 0.22, 0.06), -side * 0.3, 0.02, 0.15)


def toprock(stage: Stage, accents: Sequence[Accent]) -> None:
    """Breaking's upright steps: a foot crosses in front with the arms open, then home with the arms crossed."""
    stage.bounce(accents, 0.05, 0.1)
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.75, 0.34)
        if accent.off:
            stage.pose_arms(t, "wide", "wide", 0.15)
            continue
        count = accent.count % 4
        side = 1 if count < 2 else -1
        name = "L" if side > 0 else "R"
        if count % 2 == 0:
            stage.step(t, name, (-side * 0.10, -0.26), -side * 0.25, 0.10, 0.28)
            stage.shift(t, (-side * 0.04, -0.10), lead)
            stage.face(t, -side * 0.3, 0.0, lead)
            stage.lean(t, -side * 0.15, 0.1, side * 0.05, lead)
            stage.pose_arms(t, "wide", "wide", lead, 2.2)
        else:
            stage.step(t, name, (side * 0.20, 0.0), side * 0.2, 0.08, 0.26)
            stage.shift(t, (side * 0.04, 0.02), lead)
            stage.face(t, side * 0.05, 0.0, lead)
            stage.lean(t, side * 0.1, 0.22, 0.0, lead)
            stage.pose_arms(t, *(("cross_out", "cross_in") if side > 0 else ("cross_in", "cross_out")), lead, 2.2)


def wave(stage: Stage, accents: Sequence[Accent]) -> None:
    """Arms rise and fall like a wave through the shoulders, with a pop of the chest on every beat."""
    stage.bounce(accents, 0.05, 0.08)
    shapes = (("side", "low"), ("muscle", "wide"), ("low", "side"), ("wide", "muscle"))
    for accent, gap in gaps(accents):
        t, lead = accent.time, min(gap * 0.8, 0.4)
        if accent.off:
            stage.lean(t, 0.0, -0.1, 0.0, 0.16)
            continue
        count = accent.count % 4
        stage.pose_arms(t, *shapes[count], lead, 2.0)
        side = 1 if count < 2 else -1
        stage.shift(t, (side * (0.09 if count % 2 == 0 else 0.03), 0.0), lead)
        stage.lean(t, side * 0.1, -0.16 if count % 2 == 0 else 0.08, side * 0.2, lead)


FAMILIES: dict[str, Family] = {
    "groove": groove,
    "two_step": two_step,
    "lock": lock,
    "waack": waack,
    "house": house,
    "krump": krump,
    "toprock": toprock,
    "wave": wave,
}
"""Move families by name."""
