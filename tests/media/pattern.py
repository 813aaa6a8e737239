"""A picture that carries its own number, and which way up it is, so that both can be read off after any decoding.

The picture is a grid of 4 rows and 5 columns of black and white cells, 32 x 32 pixels at the usual 160 x 128. Six cells
never change: the four corners, and the two beside the corner that is light. They tell the eight ways apart in which a
picture can be turned and mirrored. The other 14 hold seven bits and their opposites. The light corner is green and the
dark one across is magenta, neither of them at its full, so that a wrong colour matrix shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS, BITS = 4, 5, 7
SIZE = (160, 128)
"""Width and height in pixels of a picture where nothing else is said."""

_MARKS = {(0, 0): 1, (0, 1): 1, (1, 0): 0, (0, 4): 0, (3, 0): 0, (3, 4): 0}
_CELLS = [(row, column) for row in range(ROWS) for column in range(COLUMNS) if (row, column) not in _MARKS]
COLOURS = {"green": (64, 224, 64), "magenta": (192, 32, 192), "black": (0, 0, 0), "white": (255, 255, 255)}
"""RGB of the cells that `levels` tells about."""


@dataclass(frozen=True)
class Orientation:
    """How a picture differs from the one that was drawn.

    Attributes
    ----------
    turn
        Degrees clockwise: 0, 90, 180 or 270.
    mirrored
        Whether left and right were exchanged before it was turned.
    """

    turn: int = 0
    mirrored: bool = False

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mirror and turn a picture (h, w, 3)."""
        mirrored = picture[:, ::-1] if self.mirrored else picture
        return np.rot90(mirrored, -self.turn // 90)

    def undo(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take back what `apply` does."""
        turned = np.rot90(picture, self.turn // 90)
        return turned[:, ::-1] if self.mirrored else turned


UPRIGHT = Orientation()
ORIENTATIONS = tuple(Orientation(turn, mirrored) for mirrored in (False, True) for turn in (0, 90, 180, 270))


class UnreadableError(ValueError):
    """The picture does not show a number."""


def draw(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Picture of a number from 0 to 127: (h, w, 3) uint8 RGB, for a size of (width, height)."""
    if not 0 <= number < 1 << BITS:
        raise ValueError(f"{number} does not fit {BITS} bits")
    grid = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    bits = [number >> bit & 1 for bit in range(BITS)]
    values = {**_MARKS, **dict(zip(_CELLS, bits + [1 - bit for bit in bits], strict=True))}
    for cell, value in values.items():
        grid[cell] = 255 * value
    grid[0, 0], grid[3, 4] = COLOURS["green"], COLOURS["magenta"]
    width, height = size
    rows, columns = np.arange(height) * ROWS // height, np.arange(width) * COLUMNS // width
    return grid[rows[:, None], columns]


def read(picture: NDArray[np.uint8]) -> tuple[int, Orientation]:
    """Number and orientation that a picture (h, w, 3) shows.

    Raises
    ------
    UnreadableError
        A cell is neither dark nor light, or the cells contradict each other: the picture is damaged, blended of two,
        or not drawn here.
    """
    for orientation in ORIENTATIONS:
        # The green channel tells light from dark in coloured cells too.
        green = _means(orientation.undo(picture))[..., 1]
        light = green > 127.5
        bits, opposites = ([int(light[cell]) for cell in cells] for cells in (_CELLS[:BITS], _CELLS[BITS:]))
        if all(light[cell] == value for cell, value in _MARKS.items()) and all(
            a != b for a, b in zip(bits, opposites, strict=True)
        ):
            if (np.abs(green - 127.5) < 60).any():
                raise UnreadableError("the picture is too grey to be sure of its number")
            return sum(bit << place for place, bit in enumerate(bits)), orientation
    raise UnreadableError("the picture shows no number")


def levels(picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Mean RGB of a cell of each of `COLOURS` in a picture that can be read."""
    _, orientation = read(picture)
    means = _means(orientation.undo(picture))
    return {"green": means[0, 0], "magenta": means[3, 4], "black": means[1, 0], "white": means[0, 1]}


def _means(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean RGB in the middle half of every cell, (4, 5, 3): the edges blur."""
    height, width = picture.shape[:2]
    means = np.empty((ROWS, COLUMNS, 3))
    for row in range(ROWS):
        for column in range(COLUMNS):
            top, bottom = (round((row + part) * height / ROWS) for part in (0.25, 0.75))
            left, right = (round((column + part) * width / COLUMNS) for part in (0.25, 0.75))
            means[row, column] = picture[top:bottom, left:right].mean(axis=(0, 1))
    return means
