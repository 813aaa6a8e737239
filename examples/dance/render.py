"""A small software renderer: z-buffered triangles, painted per pixel, in a textured room with a soft shadow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .body import SHAPES, BodyFactory, Cut, Mesh
from .camera import Camera
from .choreography import Dance, Outfit
from .figure import Transforms
from .rotation import unit
from .skeleton import Array

SUPERSAMPLING = 2
WALL = 1.7
"""Distance of the back wall behind the origin in metres."""
LIGHT = unit(np.array([-0.45, -0.75, 0.95]))
"""Direction towards the lamp."""


@dataclass(frozen=True)
class Actor:
    """A dressed dancer and what it does in each frame."""

    mesh: Mesh
    outfit: Outfit
    transforms: Transforms


@numba.njit(cache=True)
def _rasterise(
    points: Array, triangles: NDArray[np.int32], depth: Array, index: NDArray[np.int32], bary: Array
) -> None:
    """Fill depth, triangle number and two barycentric coordinates of the nearest triangle at every pixel."""
    height, width = depth.shape
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        left, right = max(int(min(ax, bx, cx)), 0), min(int(max(ax, bx, cx)) + 1, width)
        top, bottom = max(int(min(ay, by, cy)), 0), min(int(max(ay, by, cy)) + 1, height)
        for y in range(top, bottom):
            for x in range(left, right):
                px, py = x + 0.5, y + 0.5
                v = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / area
                w = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / area
                if v < 0.0 or w < 0.0 or v + w > 1.0:
                    continue
                z = (1 - v - w) * points[a, 2] + v * points[b, 2] + w * points[c, 2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    index[y, x] = f
                    bary[y, x, 0] = v
                    bary[y, x, 1] = w


@numba.njit(cache=True)
def _interpolate(values: Array, triangles: NDArray[np.int32], index: NDArray[np.int32], bary: Array) -> Array:
    """Values of vertices (V, D) at N surface points, each given by its triangle and two barycentric coordinates."""
    mixed = np.empty((len(index), values.shape[1]))
    for n in range(len(index)):
        a, b, c = triangles[index[n]]
        v, w = bary[n, 0], bary[n, 1]
        for d in range(values.shape[1]):
            mixed[n, d] = (1 - v - w) * values[a, d] + v * values[b, d] + w * values[c, d]
    return mixed


class Room:
    """Floor boards and a wall with bricks and posters: enough corners for a tracker to see how the camera moves."""

    _posters = ((2.0, 1.35, 0.62, 0.85), (5.25, 1.15, 0.75, 0.95), (6.6, 1.5, 0.55, 0.7), (0.6, 1.2, 0.8, 0.8))
    """Left edge, lower edge, width and height in metres."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 99])
        self._wall = self._paint_wall(rng)
        self._floor = self._paint_floor(rng)
        self._still: tuple[Array, Array] | None = None

    @staticmethod
    def _noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Array:
        noise: Array = gaussian_filter(rng.normal(size=shape), size, mode="wrap")
        return np.asarray(noise / noise.std())

    def _paint_wall(self, rng: np.random.Generator) -> Array:
        """128 pixels a metre, 8 m wide and 4 m high, row 0 at the floor."""
        height, width, scale = 512, 1024, 128
        rows, columns = np.mgrid[0:height, 0:width] / scale
        course = np.floor(rows / 0.16)
        along = columns + 0.2 * (course % 2)
        brick = np.floor(along / 0.4)
        tone = rng.normal(0, 0.035, (32, 64))[course.astype(int) % 32, brick.astype(int) % 64]
        mortar = ((rows % 0.16) < 0.014) | ((along % 0.4) < 0.014)
        base = np.array([0.60, 0.55, 0.52]) * (1 + tone[..., None])
        base[mortar] = (0.70, 0.67, 0.64)
        for x, y, w, h in self._posters:
            inside = (columns > x) & (columns < x + w) & (rows > y) & (rows < y + h)
            u, v = (columns - x) / w, (rows - y) / h
            ground, ink = rng.uniform(0.3, 0.75, 3), rng.uniform(0.15, 0.85, 3)
            disc = np.hypot((u - 0.5) * w / h, v - 0.58) < 0.27
            bar = (np.abs(v - 0.14) < 0.05) & (np.abs(u - 0.5) < 0.36)
            base[inside] = np.where((disc | bar)[..., None], ink, ground)[inside]
        base[rows < 0.11] = (0.36, 0.31, 0.29)
        base *= 1 + 0.03 * self._noise(rng, (height, width), 6)[..., None]
        return np.asarray(np.clip(base, 0, 1))

    def _paint_floor(self, rng: np.random.Generator) -> Array:
        """96 pixels a metre, 8 m square, from (-4, -4)."""
        size, scale = 768, 96
        rows, columns = np.mgrid[0:size, 0:size] / scale
        board = np.floor(columns / 0.16).astype(int)
        along = rows + 0.7 * (board % 3) + 0.23 * (board % 5)
        plank = np.floor(along / 1.6).astype(int)
        tone = rng.normal(0, 0.06, (64, 16))[board % 64, plank % 16]
        grain = 0.03 * gaussian_filter(rng.normal(size=(size, size)), (9, 0.7), mode="wrap") / 0.1
        base = np.array([0.55, 0.42, 0.30]) * (1 + tone + grain)[..., None]
        base[((columns % 0.16) < 0.011) | ((along % 1.6) < 0.011)] *= 0.6
        return np.asarray(np.clip(base, 0, 1))

    def draw(self, camera: Camera, axes: Array) -> tuple[Array, Array]:
        """Empty room seen by a camera: colours (H, W, 3), and the floor point of each pixel (H, W, 2), else NaN."""
        if not camera.moves and self._still is not None:
            return self._still[0].copy(), self._still[1]
        width, height = camera.size
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        rays = np.stack([x, y, np.full_like(x, camera.focal)], -1) @ axes
        origin = np.array(camera.position)
        to_wall = (WALL - origin[1]) / rays[..., 1]
        above = origin[2] + to_wall * rays[..., 2] >= 0
        colours = np.empty((height, width, 3), dtype=np.float32)
        hit = origin + to_wall[above][:, None] * rays[above]
        wall = _sample(self._wall, hit[:, 2] * 128, (hit[:, 0] + 4) * 128)
        colours[above] = wall * (0.80 + 0.10 * np.clip(hit[:, 2], 0, 2))[:, None]
        below = origin - (origin[2] / rays[~above][:, 2])[:, None] * rays[~above]
        colours[~above] = _sample(self._floor, (below[:, 1] + 4) * 96, (below[:, 0] + 4) * 96)
        ground = np.full((height, width, 2), np.nan, dtype=np.float32)
        ground[~above] = below[:, :2]
        self._still = (colours.copy(), ground)
        return colours, ground


def _sample(texture: Array, row: Array, column: Array) -> Array:
    """Bilinear look-up in a texture that repeats."""
    row, column = row - 0.5, column - 0.5
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    u, v = (row - i)[..., None], (column - j)[..., None]
    h, w = texture.shape[:2]
    i0, i1, j0, j1 = i % h, (i + 1) % h, j % w, (j + 1) % w
    upper = texture[i0, j0] * (1 - v) + texture[i0, j1] * v
    lower = texture[i1, j0] * (1 - v) + texture[i1, j1] * v
    mixed: Array = upper * (1 - u) + lower * u
    return mixed


def _shadow(vertices: Array, ground: Array) -> Array:
    """How much light each floor pixel keeps, from vertices dropped on the floor along the light."""
    size, scale = 240, 40
    dropped = vertices[:, :2] - vertices[:, 2:] * LIGHT[:2] / LIGHT[2]
    cells = [np.clip((dropped[:, a] + 3) * scale, 0, size - 1) for a in (0, 1)]
    cast = np.histogram2d(cells[1], cells[0], size, ((0, size), (0, size)))[0]
    cast = np.clip(gaussian_filter(np.minimum(cast, 6.0), 1.6) / 2.5, 0, 1)
    near = vertices[vertices[:, 2] < 0.10]
    cells = [np.clip((near[:, a] + 3) * scale, 0, size - 1) for a in (0, 1)]
    contact = np.histogram2d(cells[1], cells[0], size, ((0, size), (0, size)))[0]
    contact = np.clip(gaussian_filter(np.minimum(contact, 4.0), 1.8) / 1.2, 0, 1)
    light = ((1 - 0.45 * cast) * (1 - 0.5 * contact))[..., None]
    inside = (np.abs(ground[..., 0]) < 2.95) & (np.abs(ground[..., 1]) < 2.95)
    place = ground[inside]
    kept = np.ones(inside.shape, dtype=np.float32)
    kept[inside] = _sample(light, (place[:, 1] + 3) * scale, (place[:, 0] + 3) * scale)[:, 0]
    return kept


def _paint(mesh: Mesh, outfit: Outfit, rest: Array, fields: Array) -> Array:
    """Colour of surface points from where they lie on the resting body, (N, 3)."""
    hair, shirt, trousers, shoes, eyes = fields.T
    colour = np.tile(np.array(outfit.skin), (len(rest), 1))
    left, right, head = mesh.marks["eye.L"], mesh.marks["eye.R"], mesh.marks["head"]
    mirrored = np.column_stack([np.abs(rest[:, 0]), rest[:, 1:]])
    face = (rest[:, 1] < left[1] + 0.05) & (np.abs(rest[:, 2] - head[2]) < 0.2)
    from_eye = mirrored - left
    brow = face & (np.abs(from_eye[:, 2] - 0.020) < 0.0045) & (np.abs(from_eye[:, 0] - 0.003) < 0.020)
    colour[brow] = np.array(outfit.hair) * 0.8
    lips = face & (np.abs(from_eye[:, 2] + 0.068) < 0.007) & (mirrored[:, 0] < 0.024)
    colour[lips] = np.array(outfit.skin) * np.array([0.85, 0.55, 0.55])
    white = (eyes > 0.006) & (np.abs(from_eye[:, 2]) < 0.007) & face
    colour[white] = (0.93, 0.92, 0.9)
    for eye in (left, right):
        colour[white & (np.hypot(rest[:, 0] - eye[0], rest[:, 2] - eye[2]) < 0.0065)] = (0.12, 0.08, 0.06)
    colour[hair > 0] = outfit.hair
    cloth = np.array(outfit.shirt)
    on_shirt = shirt > 0
    colour[on_shirt] = cloth
    if outfit.stripe is not None:
        colour[on_shirt & (((rest[:, 2] + 0.02) % 0.11) < 0.035)] = outfit.stripe
    hem = on_shirt & (shirt < 0.012)
    colour[hem] = colour[hem] * 0.8
    legs = (trousers > 0) & ~on_shirt
    colour[legs] = outfit.trousers
    seam = legs & (np.abs(rest[:, 1] + 0.005) < 0.008)
    colour[seam] = np.array(outfit.trousers) * 1.35
    feet = shoes > 0
    colour[feet] = outfit.shoes
    colour[feet & (rest[:, 2] < 0.022)] = np.array(outfit.shoes) * 0.45
    return np.asarray(np.clip(colour, 0, 1))


def draw(actors: list[Actor], room: Room, camera: Camera, time: float, frame: int) -> NDArray[np.uint8]:
    """One frame, (H, W, 3) RGB."""
    large = camera.scaled(SUPERSAMPLING)
    instant = np.array([time])
    axes = large.axes(instant)[0]
    picture, ground = room.draw(large, axes)
    width, height = large.size
    depth = np.full((height, width), np.inf)
    index = np.full((height, width), -1, dtype=np.int32)
    bary = np.zeros((height, width, 2))
    light = np.ones((height, width), dtype=np.float32)
    posed = [a.mesh.pose(a.transforms.rotations[frame], a.transforms.translations[frame]) for a in actors]
    for vertices, _ in posed:
        light *= _shadow(vertices, ground)
    picture *= light[..., None]
    for actor, (vertices, normals) in zip(actors, posed, strict=True):
        index[:] = -1
        _rasterise(large.project(vertices[None], instant)[0], actor.mesh.triangles, depth, index, bary)
        seen = index >= 0
        surface = np.hstack([actor.mesh.body, actor.mesh.fields, normals, vertices])
        points = _interpolate(surface, actor.mesh.triangles, index[seen], bary[seen])
        colour = _paint(actor.mesh, actor.outfit, points[:, :3], points[:, 3:8])
        normal = unit(points[:, 8:11])
        towards = unit(np.array(camera.position) - points[:, 11:])
        lambert = np.clip(normal @ LIGHT, 0, None)
        sky = 0.5 + 0.5 * normal[:, 2]
        rim = (1 - np.clip((normal * towards).sum(1), 0, 1)) ** 3
        shade = 0.30 + 0.18 * sky + 0.62 * lambert + 0.10 * rim
        picture[seen] = colour * shade[:, None]
    shape = (height // SUPERSAMPLING, SUPERSAMPLING, width // SUPERSAMPLING, SUPERSAMPLING, 3)
    blocks = np.clip(picture, 0, 1, out=picture).reshape(shape)
    small = (blocks[:, 0, :, 0] + blocks[:, 1, :, 0] + blocks[:, 0, :, 1] + blocks[:, 1, :, 1]) / SUPERSAMPLING**2
    return np.round(small**0.9 * 255).astype(np.uint8)


def actors_of(dance: Dance, factory: BodyFactory, times: Array) -> list[Actor]:
    """The dressed dancers of a dance with all their frames."""
    actors = []
    for i, who in enumerate(dance.dancers):
        look = who.outfit
        mesh = factory.mesh(SHAPES[who.body], Cut(look.sleeve, look.leg, look.loose, look.long_hair))
        actors.append(Actor(mesh, look, dance.transforms(i, times)))
    return actors


def frames(dance: Dance, factory: BodyFactory) -> Iterator[NDArray[np.uint8]]:
    """All frames of a dance in order."""
    times = dance.times()
    actors = actors_of(dance, factory, times)
    room = Room(dance.seed)
    for i, time in enumerate(times):
        yield draw(actors, room, dance.camera, float(time), i)
