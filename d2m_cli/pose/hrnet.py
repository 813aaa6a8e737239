"""HRNet, or any other top-down network with one heat map per COCO joint, from an ONNX file.

The crop, the colours and the reading of the maps follow mmpose's classic (not UDP) top-down recipe, with which the
published HRNet-W32 and -W48 checkpoints were trained.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option
from d2m_cli.pose.options import DECODINGS
from d2m_cli.pose.session import OnnxModel

RGB_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
RGB_STD = np.array([58.395, 57.12, 57.375], np.float32)
UNIT_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
"""ImageNet's, of pictures of 0 to 1."""
PADDING = 1.25
"""The person's box is enlarged by this before it is cut out."""

LEFT_RIGHT = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""Which joint each becomes in a mirror."""

BLUR = 11
"""Side of the Gaussian window, in cells, that smooths the maps before DARK's Taylor step."""


class HRNet:
    """Joints of the person that a crop was made for.

    Parameters
    ----------
    model
        Takes (n, 3, h, w) float32, gives (n, 17, h', w').
    name
        What to call it in reports.
    flip_test
        Average with the mirrored crop: twice the time, slightly steadier.
    decoding
        "dark" (Taylor step on the smoothed logarithm) or "quarter" (a quarter of a cell towards the higher neighbour).

    Raises
    ------
    UsageError
        The network has another shape.
    """

    def __init__(self, model: OnnxModel, name: str, flip_test: bool = False, decoding: str = "dark") -> None:
        if decoding not in DECODINGS:
            raise UsageError(f"{option('decoding')} must be one of {', '.join(DECODINGS)}, not {decoding!r}")
        shape = model.input_shape
        if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[3] is None or len(model.outputs) != 1:
            raise UsageError(
                f"{model.path}: takes {shape}, gives {len(model.outputs)} outputs; a top-down network takes "
                "(batch, 3, height, width) and gives one heat map per joint (see 'd2m weights export-hrnet')"
            )
        self.model, self.name = model, name
        self.own_colours = own_colours(model.path)
        self.flip_test, self.decoding = flip_test, decoding
        self.crop_size = (shape[3], shape[2])

    def crop_for(self, boxes: NDArray[np.float64]) -> tuple[int, int]:
        """Crop (width, height), whatever the dancer's boxes (n, 4)."""
        return self.crop_size

    def joints(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Find the joints in (n, h, w, 3) RGB crops; returns (n, 17, 3) x and y in crop pixels, score."""
        heat: NDArray[Any] = self._heat(self._pictures(crops))
        if self.flip_test:
            heat = (heat + unflipped(self._heat(self._pictures(crops[:, :, ::-1])))) / 2
        read = decode_dark if self.decoding == "dark" else decode_quarter
        joints = read(heat)
        stride = np.array(self.crop_size) / [heat.shape[3], heat.shape[2]]
        joints[..., :2] *= stride
        return joints

    def _pictures(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not self.own_colours:
            return normalised(crops)
        plain = crops if self.own_colours == "rgb" else crops[..., ::-1]
        return np.ascontiguousarray((plain.astype(np.float32) / 255).transpose(0, 3, 1, 2))

    def _heat(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        heat: NDArray[np.float32] = self.model(pictures)[0]
        if heat.ndim != 4 or heat.shape[1] != 17:
            raise UsageError(f"{self.model.path}: gives {heat.shape}, not 17 heat maps (COCO joints) per person")
        return heat


def own_colours(path: Path) -> str:
    """Whether a network removes ImageNet's mean from its pictures itself, and in which order it takes the colours.

    Returns
    -------
    "rgb" or "bgr" where the file holds that mean for pictures of 0 to 1 in this order; "" where it does not: then its
    pictures come normalised, as d2m's own exports and mmpose's take them.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    orders = {"rgb": UNIT_MEAN, "bgr": UNIT_MEAN[::-1]}
    return next((order for order, mean in orders.items() if np.ascontiguousarray(mean).tobytes() in content), "")


def normalised(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, h, w, 3) uint8 RGB to (n, 3, h, w) float32 with ImageNet's mean and spread removed."""
    n, height, width, colours = crops.shape
    pictures = np.empty((n, colours, height, width), np.float32)
    # Plane by plane, which stays in a core's cache: five times as fast as all at once.
    for crop, picture in zip(crops, pictures, strict=True):
        for colour, plane in enumerate(picture):
            np.subtract(crop[..., colour], RGB_MEAN[colour], out=plane, dtype=np.float32)
            plane /= RGB_STD[colour]
    return pictures


def unflipped(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps of mirrored crops, mirrored back; one cell to the right, where the strided network puts their grid."""
    back = heat[:, LEFT_RIGHT, :, ::-1].copy()
    back[..., 1:] = back[..., :-1].copy()
    return back


def _highest(heat: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Column, row and value of each map's highest cell; (n, k) each."""
    n, joints, _, columns = heat.shape
    flat = heat.reshape(n, joints, -1)
    best = flat.argmax(axis=2)
    y, x = np.divmod(best, columns)
    return x, y, np.take_along_axis(flat, best[..., None], axis=2)[..., 0].astype(np.float64)


def decode_quarter(heat: NDArray[Any]) -> NDArray[np.float64]:
    """Highest cells of (n, k, h, w) maps, moved a quarter of a cell towards the higher neighbour; (n, k, 3)."""
    _, _, rows, columns = heat.shape
    x, y, value = _highest(heat)
    at = _picker(heat)
    step_x = np.where((x > 1) & (x < columns - 1) & (y > 0), np.sign(at(y, x + 1) - at(y, x - 1)), 0)
    step_y = np.where((y > 1) & (y < rows - 1) & (x > 0), np.sign(at(y + 1, x) - at(y - 1, x)), 0)
    return np.stack([x + 0.25 * step_x, y + 0.25 * step_y, value], axis=2)


def decode_dark(heat: NDArray[Any], blur: int = BLUR) -> NDArray[np.float64]:
    """Highest cells of (n, k, h, w) maps, moved to the top of the bell that fits there (DARK); (n, k, 3).

    The logarithm of a Gaussian is a paraboloid: one Newton step on the logarithm of the smoothed map reaches its top.
    """
    _, _, rows, columns = heat.shape
    x, y, value = _highest(heat)
    smooth = _picker(_smoothed(heat, blur))

    def at(y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
        logarithm: NDArray[np.float64] = np.log(np.maximum(smooth(y, x), 1e-10))
        return logarithm

    here = at(y, x)
    dx, dy = (at(y, x + 1) - at(y, x - 1)) / 2, (at(y + 1, x) - at(y - 1, x)) / 2
    dxx = (at(y, x + 2) - 2 * here + at(y, x - 2)) / 4
    dyy = (at(y + 2, x) - 2 * here + at(y - 2, x)) / 4
    dxy = (at(y + 1, x + 1) - at(y - 1, x + 1) - at(y + 1, x - 1) + at(y - 1, x - 1)) / 4
    bend = dxx * dyy - dxy**2
    inner = (x > 1) & (x < columns - 2) & (y > 1) & (y < rows - 2) & (bend != 0)
    bend = np.where(inner, bend, 1.0)
    step_x = np.where(inner, (dxy * dy - dyy * dx) / bend, 0)
    step_y = np.where(inner, (dxy * dx - dxx * dy) / bend, 0)
    return np.stack([x + step_x, y + step_y, value], axis=2)


def _picker(heat: NDArray[Any]) -> Any:
    """Function that reads the maps at (n, k) rows and columns; outside they repeat their edge."""
    n, joints, rows, columns = heat.shape
    first, second = np.arange(n)[:, None], np.arange(joints)

    def at(y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(heat[first, second, np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)], np.float64)

    return at


def _smoothed(heat: NDArray[Any], blur: int) -> NDArray[np.float64]:
    """Maps blurred by a Gaussian window, each with its old maximum; beyond the edge there is nothing."""
    smooth = np.empty(heat.shape, np.float64)
    for index in np.ndindex(*heat.shape[:2]):
        one = heat[index].astype(np.float64)
        blurred = cv2.GaussianBlur(one, (blur, blur), 0, borderType=cv2.BORDER_CONSTANT)
        np.multiply(blurred, one.max() / max(float(blurred.max()), 1e-12), out=smooth[index])
    return smooth
