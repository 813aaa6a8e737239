"""A captured dance carried over to the example bodies.

Reads the motion files of Isaac Lab's humanoid (BSD-3-Clause): world positions and rotations of 15 bodies at a fixed
rate, x forward, y left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from .camera import Camera
from .choreography import Dance, Dancer, Outfit
from .figure import STANCE_DROP, Motion
from .rotation import unit
from .skeleton import Array, load_skeleton

_TO_OURS = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Isaac's axes (forward, left, up) to ours (left of a dancer in rest, backward, up)."""


@dataclass(frozen=True)
class CapturedDance(Dance):
    """A dance that was recorded, not composed; nobody wrote down its beats.

    Attributes
    ----------
    source
        The motion file.
    centre
        Point of the recording's floor (in our axes) that becomes the origin.
    spin
        Turn in radians of the whole recording about the vertical.
    """

    source: Path = Path("humanoid_dance.npz")
    centre: tuple[float, float] = (0.0, 0.0)
    spin: float = 0.0

    def motion(self, dancer: int, times: Array) -> Motion:
        """The recording at the given times, scaled to the body's legs."""
        with np.load(self.source, allow_pickle=False) as stored:
            names = [str(name) for name in stored["body_names"]]
            rate = float(stored["fps"])
            positions = stored["body_positions"].astype(float) @ _TO_OURS.T
            quaternions = stored["body_rotations"].astype(float)
        turn = Rotation.from_euler("z", self.spin)
        positions = turn.apply((positions - np.array([*self.centre, 0.0])).reshape(-1, 3)).reshape(positions.shape)
        clock = np.arange(len(positions)) / rate
        at = np.clip(times, 0, clock[-1])

        def place(name: str) -> Array:
            path = positions[:, names.index(name)]
            return np.column_stack([np.interp(at, clock, path[:, axis]) for axis in range(3)])

        def rotation(name: str) -> Rotation:
            raw = Rotation.from_quat(quaternions[:, names.index(name)][:, [1, 2, 3, 0]])
            basis = Rotation.from_matrix(_TO_OURS)
            return Slerp(clock, turn * basis * raw * basis.inv())(at)

        def angles(turned: Rotation) -> Array:
            # Intrinsic z, x, y is the order of `rotation.from_yaw_pitch_roll`.
            found: Array = turned.as_euler("ZXY")
            return found

        skeleton = load_skeleton(self.dancers[dancer].body)
        pelvis, torso, head = rotation("pelvis"), rotation("torso"), rotation("head")
        leg = skeleton.length("upperleg01.L", "lowerleg01.L") + skeleton.length("lowerleg01.L", "foot.L")
        hip, knee, sole = (positions[:, names.index(f"left_{name}")] for name in ("thigh", "shin", "foot"))
        captured = np.linalg.norm(hip - knee, axis=1) + np.linalg.norm(knee - sole, axis=1)
        scale = leg / float(captured.mean())

        feet, arms = [], []
        ground = np.array([positions[:, names.index(f"{side}_foot"), 2].min() for side in ("left", "right")])
        for i, side in enumerate(("left", "right")):
            ankle = place(f"{side}_foot")
            facing = angles(rotation(f"{side}_foot"))
            raised = np.maximum(ankle[:, 2] - ground[i], 0) * scale
            feet.append(np.column_stack([ankle[:, :2] * scale, raised, np.unwrap(facing[:, 0]), facing[:, 1]]))
            upper = torso.inv().apply(place(f"{side}_lower_arm") - place(f"{side}_upper_arm"))
            fore = torso.inv().apply(place(f"{side}_hand") - place(f"{side}_lower_arm"))
            to_pose = np.array([1.0 if side == "left" else -1.0, -1.0, 1.0])
            arms.append(np.column_stack([unit(upper) * to_pose, unit(fore) * to_pose]))
        hips = 0.5 * (place("left_thigh") + place("right_thigh"))
        standing = float(np.percentile(hip[:, 2], 98))
        height = np.minimum((hips[:, 2] - standing) * scale + STANCE_DROP, STANCE_DROP)
        facing = angles(pelvis)
        facing[:, 0] = np.unwrap(facing[:, 0])
        return Motion(
            np.column_stack([hips[:, :2] * scale, height]),
            facing,
            angles(pelvis.inv() * torso),
            angles(torso.inv() * head),
            (feet[0], feet[1]),
            (arms[0], arms[1]),
        )


def captured_dance(source: Path) -> CapturedDance:
    """The captured dance as a clip of the example set."""
    look = Outfit(shirt=(0.45, 0.25, 0.55), hair=(0.3, 0.18, 0.1), long_hair=True, sleeve=0.2)
    return CapturedDance(
        name="capture",
        genre=None,
        bpm=None,
        first_beat=0.0,
        seconds=15.0,
        parts=(),
        dancers=(Dancer("ada", look),),
        camera=Camera(size=(480, 480), position=(0.0, -6.6, 1.4), target=(0.0, 0.0, 0.9), focal=1080.0),
        seed=8,
        source=source,
        centre=(0.5, 0.1),
        spin=0.0,
    )
