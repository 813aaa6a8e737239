"""How a stored picture is turned and mirrored for display."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import VideoError


@dataclass(frozen=True)
class Orientation:
    """What a player does to the stored picture: mirror it left to right, then turn it clockwise.

    Attributes
    ----------
    rotation
        0, 90, 180 or 270 degrees clockwise.
    mirrored
        Whether left and right change places first.
    """

    rotation: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"pictures are turned by 0, 90, 180 or 270 degrees, not {self.rotation}")

    @property
    def plain(self) -> bool:
        """Whether the picture is shown as it is stored."""
        return self.rotation == 0 and not self.mirrored

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Displayed (width, height) of a stored picture; and the other way round."""
        return (width, height) if self.rotation % 180 == 0 else (height, width)

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn a stored picture (h, w, c) as it is displayed."""
        if self.plain:
            return picture
        mirrored = picture[:, ::-1] if self.mirrored else picture
        return np.ascontiguousarray(np.rot90(mirrored, -self.rotation // 90))

    @property
    def filters(self) -> tuple[str, ...]:
        """Names of the FFmpeg filters, with their argument after "=", that do the same in any pixel format."""
        turn = {0: (), 90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}[self.rotation]
        return (("hflip",) if self.mirrored else ()) + turn


def orientation_of(frame: Any) -> Orientation:
    """Orientation that FFmpeg's display matrix asks for; `frame` is a decoded PyAV frame.

    The matrix (rows a b and c d, 16.16 fixed point) sends a stored point (x, y) to (a x + c y, b x + d y).
    """
    matrix = _display_matrix(frame)
    if matrix is None:
        return Orientation()
    a, b, c, d = (matrix[index] / 65536.0 for index in (0, 1, 3, 4))
    determinant = a * d - b * c
    if abs(determinant) < 1e-6:
        return Orientation()
    mirrored = determinant < 0.0
    # With the mirror first, the x axis of the mirrored picture is the stored one reversed.
    across = (-a, -b) if mirrored else (a, b)
    # y points down, so this angle grows clockwise.
    angle = np.degrees(np.arctan2(across[1], across[0]))
    return Orientation(round(float(angle) / 90.0) * 90 % 360, mirrored)


def _display_matrix(frame: Any) -> tuple[int, ...] | None:
    from av.sidedata.sidedata import Type

    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX:
            content = bytes(data)
            if len(content) != 36:
                raise VideoError(f"its display matrix has {len(content)} bytes in place of 36")
            return struct.unpack("=9i", content)
    return None
