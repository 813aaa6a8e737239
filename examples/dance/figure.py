"""From the quantities a choreography moves to the transforms of the 26 joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rotation import about, frame, from_vector, from_yaw_pitch_roll, shortest_arc, to_vector, unit
from .skeleton import JOINTS, PARENTS, Array, Skeleton

STANCE_DROP = 0.035
"""How far the pelvis of a standing dancer is below straight legs, in metres."""


@dataclass(frozen=True)
class Motion:
    """What a dancer does over T instants; angles in radians, lengths in metres.

    Attributes
    ----------
    pelvis
        (T, 3) place on the floor x, y and height above the dancer's stance.
    turn, chest, head
        (T, 3) turn to the left, lean forward, lean left: of the pelvis in the world, of the chest to the pelvis, of the
        head to the chest.
    feet
        Left and right, (T, 5): ankle x, y, height over the floor contact, turn to the left, heel raise.
    arms
        Left and right, (T, 6): direction of the upper arm and of the forearm in the chest's frame, each as (outward,
        forward, up).
    """

    pelvis: Array
    turn: Array
    chest: Array
    head: Array
    feet: tuple[Array, Array]
    arms: tuple[Array, Array]


@dataclass(frozen=True)
class Transforms:
    """Rest-to-world transforms of the joints: rotations (T, 26, 3, 3) and translations (T, 26, 3)."""

    rotations: Array
    translations: Array


class _Builder:
    """Fills in joints from the root outwards; each turns about its head, which its parent carries."""

    def __init__(self, skeleton: Skeleton, count: int) -> None:
        self.heads = skeleton.heads
        self.rotations = np.zeros((count, len(JOINTS), 3, 3))
        self.positions = np.zeros((count, len(JOINTS), 3))

    def place(self, joint: str, rotation: Array) -> Array:
        """Give a joint its world rotation; returns the world position of its head."""
        i = JOINTS.index(joint)
        parent = PARENTS[i]
        offset = self.heads[i] - self.heads[parent]
        self.positions[:, i] = self.positions[:, parent] + self.rotations[:, parent] @ offset
        self.rotations[:, i] = rotation
        return self.positions[:, i]

    def rotation(self, joint: str) -> Array:
        found: Array = self.rotations[:, JOINTS.index(joint)]
        return found

    def transforms(self) -> Transforms:
        carried = np.einsum("tjab,jb->tja", self.rotations, self.heads)
        return Transforms(self.rotations, self.positions - carried)


def solve(skeleton: Skeleton, motion: Motion) -> Transforms:
    """Joint transforms of a motion: legs by inverse kinematics, all else by given directions."""
    builder = _Builder(skeleton, len(motion.pelvis))
    pelvis = from_yaw_pitch_roll(motion.turn)
    builder.rotations[:, 0] = pelvis
    builder.positions[:, 0] = _pelvis_place(skeleton, motion, pelvis)

    bend = to_vector(from_yaw_pitch_roll(motion.chest))
    carried = pelvis
    for i, joint in enumerate(("spine05", "spine04", "spine03", "spine02", "spine01")):
        carried = pelvis @ from_vector(bend * ((i + 1) / 5))
        builder.place(joint, carried)
    nod = to_vector(from_yaw_pitch_roll(motion.head))
    builder.place("neck01", carried @ from_vector(nod * 0.5))
    builder.place("head", carried @ from_vector(nod))

    for side, directions in zip("LR", motion.arms, strict=True):
        _place_arm(builder, skeleton, side, directions, carried)
    for side, foot in zip("LR", motion.feet, strict=True):
        _place_leg(builder, skeleton, side, foot, motion.turn[:, 0])
    return builder.transforms()


def _joint(skeleton: Skeleton, name: str) -> Array:
    found: Array = skeleton.heads[JOINTS.index(name)]
    return found


def _ankle(skeleton: Skeleton, side: str, foot: Array) -> Array:
    return np.column_stack([foot[:, :2], foot[:, 2] + _joint(skeleton, f"foot.{side}")[2]])


def _reach(skeleton: Skeleton, side: str) -> float:
    upper = skeleton.length(f"upperleg01.{side}", f"lowerleg01.{side}")
    return upper + skeleton.length(f"lowerleg01.{side}", f"foot.{side}")


def _pelvis_place(skeleton: Skeleton, motion: Motion, pelvis: Array) -> Array:
    """Position of the root, lowered where a foot that is near the floor could not be reached otherwise."""
    root = _joint(skeleton, "root")
    place = motion.pelvis + np.array([0.0, 0.0, root[2] - STANCE_DROP])
    for side, foot in zip("LR", motion.feet, strict=True):
        hip = pelvis @ (_joint(skeleton, f"upperleg01.{side}") - root)
        ankle = _ankle(skeleton, side, foot)
        across = np.linalg.norm(ankle[:, :2] - place[:, :2] - hip[:, :2], axis=1)
        limit = ankle[:, 2] + np.sqrt(np.maximum((0.992 * _reach(skeleton, side)) ** 2 - across**2, 0.09)) - hip[:, 2]
        # A foot in the air may hang short of its target; only standing feet hold the pelvis down.
        standing = np.clip(1 - foot[:, 2] / 0.12, 0, 1)
        place[:, 2] -= standing * np.maximum(place[:, 2] - limit, 0)
    return np.asarray(place)


def _place_leg(builder: _Builder, skeleton: Skeleton, side: str, foot: Array, facing: Array) -> None:
    names = [f"upperleg01.{side}", f"lowerleg01.{side}", f"foot.{side}"]
    rest_hip, rest_knee, rest_ankle = (_joint(skeleton, name) for name in names)
    upper, lower = np.linalg.norm(rest_knee - rest_hip), np.linalg.norm(rest_ankle - rest_knee)
    outward = 1.0 if side == "L" else -1.0
    pole = np.einsum("tab,b->ta", about(2, 0.5 * (facing + foot[:, 3])), np.array([0.3 * outward, -1.0, 0.0]))

    hip = builder.place(names[0], np.broadcast_to(np.eye(3), (len(foot), 3, 3)))
    to_ankle = _ankle(skeleton, side, foot) - hip
    distance = np.clip(np.linalg.norm(to_ankle, axis=1), 0.35 * (upper + lower), 0.998 * (upper + lower))
    down = unit(to_ankle)
    bulge = unit(pole - (pole * down).sum(1, keepdims=True) * down)
    cosine = np.clip((upper**2 + distance**2 - lower**2) / (2 * upper * distance), -1, 1)
    thigh = cosine[:, None] * down + np.sqrt(1 - cosine**2)[:, None] * bulge
    shin = unit(distance[:, None] * down - upper * thigh)
    hinge = np.cross(down, bulge)

    rest_pole = np.array([0.3 * outward, -1.0, 0.0])
    rest_hinge = np.cross(unit(rest_ankle - rest_hip), rest_pole)
    rest_thigh, rest_shin = unit(rest_knee - rest_hip), unit(rest_ankle - rest_knee)
    builder.place(names[0], frame(thigh, hinge) @ frame(rest_thigh, rest_hinge).T)
    builder.place(names[1], frame(shin, hinge) @ frame(rest_shin, rest_hinge).T)
    planted = about(2, foot[:, 3]) @ about(0, foot[:, 4])
    builder.place(names[2], planted)
    # Toes stay on the floor while the heel rises, unless the foot is in the air.
    toes = foot[:, 4] * np.clip(foot[:, 2] / 0.12, 0, 1)
    builder.place(f"toe.{side}", about(2, foot[:, 3]) @ about(0, toes))


def _place_arm(builder: _Builder, skeleton: Skeleton, side: str, directions: Array, chest: Array) -> None:
    outward = 1.0 if side == "L" else -1.0
    to_chest = np.array([outward, -1.0, 1.0])
    upper, fore = unit(directions[:, :3]) * to_chest, unit(directions[:, 3:]) * to_chest
    names = [f"{name}.{side}" for name in ("clavicle", "upperarm01", "upperarm02", "lowerarm01", "wrist")]
    raised = 0.38 * np.clip((upper[:, 2] + 0.15) / 1.1, 0, 1)
    builder.place(names[0], chest @ about(1, -outward * raised))

    shoulder, elbow, wrist = (_joint(skeleton, names[i]) for i in (1, 3, 4))
    rest_upper, rest_fore = unit(elbow - shoulder), unit(wrist - elbow)
    rest_hinge = unit(np.cross(rest_upper, rest_fore))
    swing = shortest_arc(rest_upper, upper)
    # The plane of the bent elbow sets the twist of the upper arm; a straight arm has none and keeps that of its swing.
    hinge = np.cross(upper, fore) + 0.2 * swing @ rest_hinge
    bent = frame(upper, hinge) @ frame(rest_upper, rest_hinge).T
    twist = to_vector(np.swapaxes(swing, 1, 2) @ bent)
    builder.place(names[1], chest @ swing @ from_vector(0.5 * twist))
    builder.place(names[2], chest @ bent)
    forearm = chest @ frame(fore, hinge) @ frame(rest_fore, rest_hinge).T
    builder.place(names[3], forearm)
    builder.place(names[4], forearm)
