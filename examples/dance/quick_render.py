"""The renderer of `render`, quicker by ten: colours and light are mixed at vertices, and all loops are compiled.

For small pictures, where the difference cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .body import BodyFactory
from .choreography import Dance
from .render import LIGHT, SUPERSAMPLING, WALL, Actor, Room, _paint, actors_of
from .rotation import unit
from .skeleton import Array

CELLS, CELLS_A_METRE = 240, 40
"""The map of light on the floor: cells each way, six metres around the origin."""


@dataclass(frozen=True)
class Scenery:
    """Textures of a room, (h, w, 3) float32."""

    wall: NDArray[np.float32]
    floor: NDArray[np.float32]


def scenery(seed: int) -> Scenery:
    """The room of a seed."""
    room = Room(seed)
    return Scenery(room._wall.astype(np.float32), room._floor.astype(np.float32))


@numba.njit(cache=True, fastmath=True, inline="always")
def _look_up(texture, row, column):  # type: ignore[no-untyped-def]
    """Bilinear look-up in a texture that repeats: the two rows, two columns, and the shares of the second ones."""
    row, column = row - 0.5, column - 0.5
    below, left = np.floor(row), np.floor(column)
    h, w = texture.shape[0], texture.shape[1]
    i, j = int(below) % h, int(left) % w
    return i, (i + 1 if i + 1 < h else 0), j, (j + 1 if j + 1 < w else 0), row - below, column - left


@numba.njit(cache=True, fastmath=True)
def _background(
    wall: NDArray[np.float32],
    floor: NDArray[np.float32],
    light: NDArray[np.float32],
    axes: Array,
    origin: Array,
    focal: float,
    picture: NDArray[np.float32],
) -> None:
    """Fill in the room as a camera sees it."""
    height, width = picture.shape[:2]
    for y in range(height):
        for x in range(width):
            a, b = x + 0.5 - width / 2, y + 0.5 - height / 2
            rx = a * axes[0, 0] + b * axes[1, 0] + focal * axes[2, 0]
            ry = a * axes[0, 1] + b * axes[1, 1] + focal * axes[2, 1]
            rz = a * axes[0, 2] + b * axes[1, 2] + focal * axes[2, 2]
            along = (WALL - origin[1]) / ry if ry > 1e-6 else 1e9
            z = origin[2] + along * rz
            if z >= 0.0:
                texture, shade = wall, 0.80 + 0.10 * min(z, 2.0)
                row, column = z * 128, (origin[0] + along * rx + 4) * 128
            else:
                along = -origin[2] / rz
                px, py = origin[0] + along * rx, origin[1] + along * ry
                texture, shade = floor, 1.0
                row, column = (py + 4) * 96, (px + 4) * 96
                if abs(px) < 2.95 and abs(py) < 2.95:
                    i, k, j, m, u, v = _look_up(light, (py + 3) * CELLS_A_METRE, (px + 3) * CELLS_A_METRE)
                    shade = (light[i, j] * (1 - v) + light[i, m] * v) * (1 - u)
                    shade += (light[k, j] * (1 - v) + light[k, m] * v) * u
            i, k, j, m, u, v = _look_up(texture, row, column)
            for c in range(3):
                upper = texture[i, j, c] * (1 - v) + texture[i, m, c] * v
                lower = texture[k, j, c] * (1 - v) + texture[k, m, c] * v
                picture[y, x, c] = shade * (upper * (1 - u) + lower * u)


@numba.njit(cache=True, fastmath=True)
def _rasterise(
    points: Array,
    triangles: NDArray[np.int32],
    depth: NDArray[np.float32],
    index: NDArray[np.int32],
    bary: NDArray[np.float32],
) -> None:
    """As `render._rasterise`, without the triangles that are seen from within."""
    height, width = depth.shape
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0.0:
            continue
        left, right = max(int(min(ax, bx, cx) + 0.5), 0), min(int(max(ax, bx, cx) + 0.5), width)
        top, bottom = max(int(min(ay, by, cy) + 0.5), 0), min(int(max(ay, by, cy) + 0.5), height)
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


@numba.njit(cache=True, fastmath=True)
def _cover(
    colours: NDArray[np.float32],
    triangles: NDArray[np.int32],
    index: NDArray[np.int32],
    bary: Array,
    picture: NDArray[np.float32],
) -> None:
    """Draw the colours of vertices where a triangle is seen; each pixel has `SUPERSAMPLING` squared looks at it."""
    height, width = picture.shape[:2]
    part = np.float32(1.0 / SUPERSAMPLING**2)
    for y in range(height * SUPERSAMPLING):
        for x in range(width * SUPERSAMPLING):
            f = index[y, x]
            if f < 0:
                continue
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            v, w = bary[y, x, 0], bary[y, x, 1]
            i, j = y // SUPERSAMPLING, x // SUPERSAMPLING
            for d in range(3):
                colour = (1 - v - w) * colours[a, d] + v * colours[b, d] + w * colours[c, d]
                picture[i, j, d] += part * colour


@numba.njit(cache=True)
def _make_room(index: NDArray[np.int32], picture: NDArray[np.float32]) -> None:
    """Darken each pixel of the background by the share of it that is covered."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            seen = 0
            for i in range(SUPERSAMPLING):
                for j in range(SUPERSAMPLING):
                    seen += index[y * SUPERSAMPLING + i, x * SUPERSAMPLING + j] >= 0
            if seen:
                for c in range(3):
                    picture[y, x, c] *= np.float32(1.0 - seen / SUPERSAMPLING**2)


def _cast(vertices: Array, most: float, blur: float, full: float) -> Array:
    """How densely vertices lie over the floor, 0 to 1."""
    cells = np.clip((vertices[:, :2] + 3) * CELLS_A_METRE, 0, CELLS - 1).astype(np.int64)
    count = np.bincount(cells[:, 1] * CELLS + cells[:, 0], minlength=CELLS * CELLS).reshape(CELLS, CELLS)
    return np.asarray(np.clip(gaussian_filter(np.minimum(count, most).astype(np.float32), blur) / full, 0, 1))


def _floor_light(posed: list[Array]) -> NDArray[np.float32]:
    light = np.ones((CELLS, CELLS), dtype=np.float32)
    for vertices in posed:
        dropped = vertices[:, :2] - vertices[:, 2:] * LIGHT[:2] / LIGHT[2]
        light *= 1 - 0.45 * _cast(dropped, 6.0, 1.6, 2.5)
        light *= 1 - 0.5 * _cast(vertices[vertices[:, 2] < 0.10], 4.0, 1.8, 1.2)
    return light


def _lit(paint: Array, vertices: Array, normals: Array, eye: Array) -> NDArray[np.float32]:
    """Colours of posed vertices in the light of the room."""
    towards = unit(eye - vertices)
    lambert = np.clip(normals @ LIGHT, 0, None)
    rim = (1 - np.clip((normals * towards).sum(1), 0, 1)) ** 3
    shade = 0.30 + 0.18 * (0.5 + 0.5 * normals[:, 2]) + 0.62 * lambert + 0.10 * rim
    return np.asarray(paint * shade[:, None], dtype=np.float32)


def frames(dance: Dance, factory: BodyFactory, room: Scenery) -> Iterator[NDArray[np.uint8]]:
    """All frames of a dance in order, (H, W, 3) RGB."""
    times = dance.times()
    actors: list[Actor] = actors_of(dance, factory, times)
    paints = [_paint(a.mesh, a.outfit, a.mesh.body, a.mesh.fields) for a in actors]
    camera = dance.camera
    large = camera.scaled(SUPERSAMPLING)
    eye, axes = np.array(camera.position), camera.axes(times)
    picture = np.empty((camera.size[1], camera.size[0], 3), dtype=np.float32)
    fine = (large.size[1], large.size[0])
    depth, index = np.empty(fine, np.float32), np.empty(fine, np.int32)
    bary = np.empty((*fine, 2), np.float32)
    tone = np.round(np.linspace(0, 1, 4096) ** 0.9 * 255).astype(np.uint8)
    for t in range(len(times)):
        posed = [a.mesh.pose(a.transforms.rotations[t], a.transforms.translations[t]) for a in actors]
        light = _floor_light([vertices for vertices, _ in posed])
        _background(room.wall, room.floor, light, axes[t], eye, camera.focal, picture)
        depth[:] = np.inf
        for actor, paint, (vertices, normals) in zip(actors, paints, posed, strict=True):
            index[:] = -1
            _rasterise(large.project(vertices[None], times[t : t + 1])[0], actor.mesh.triangles, depth, index, bary)
            _make_room(index, picture)
            _cover(_lit(paint, vertices, normals, eye), actor.mesh.triangles, index, bary, picture)
        yield tone[(np.clip(picture, 0, 1) * 4095 + 0.5).astype(np.int32)]
