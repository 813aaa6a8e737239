"""Measure how well a MoveNet finds the dancers of the example videos, against their ground truth.

    python examples/check_videos.py --model movenet-thunder.onnx [stem ...]

Every frame (or every n-th, `--every n`) is letterboxed onto a square and shown to the network once. Where two dance,
each is cropped by their own ground truth first, for the network knows one person only. Prints one line a dancer:

found    share of frames with at least 12 joints of score 0.3 or more
pck      PCK@0.2: share of joints nearer to the truth than a fifth of the torso (left shoulder to right hip)
pck_seen the same over joints of score 0.3 or more
error    median distance in shares of the torso
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

VIDEOS = Path(__file__).parent / "videos"


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """RGB frames of a video."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Square image scaled with the decoder's own bicubic scaler."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    scaled = frame.reformat(width=size, height=size, interpolation="BICUBIC").to_ndarray(format="rgb24")
    return np.asarray(scaled, dtype=np.uint8)


def crop_square(image: NDArray[np.uint8], box: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The square (left, top, side) of an image, black beyond its edges."""
    left, top, side = box
    square = np.zeros((side, side, 3), dtype=np.uint8)
    height, width = image.shape[:2]
    x0, x1, y0, y1 = max(left, 0), min(left + side, width), max(top, 0), min(top + side, height)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return square


def detect(session: onnxruntime.InferenceSession, image: NDArray[np.uint8], box: tuple[int, int, int]) -> Array:
    """(17, 3) pixel x, pixel y and score found in one square of an image."""
    size = session.get_inputs()[0].shape[1]
    square = resize(crop_square(image, box), size)
    found = session.run(None, {session.get_inputs()[0].name: square[None].astype(np.int32)})[0][0, 0]
    left, top, side = box
    return np.column_stack([found[:, 1] * side + left, found[:, 0] * side + top, found[:, 2]]).astype(float)


def box_around(points: Array, margin: float = 0.25) -> tuple[int, int, int]:
    """Square around one dancer's joints."""
    low, high = points.min(0), points.max(0)
    side = int((high - low).max() * (1 + 2 * margin))
    centre = (low + high) / 2
    return int(centre[0] - side / 2), int(centre[1] - side / 2), side


def measure(session: onnxruntime.InferenceSession, stem: str, folder: Path, every: int) -> Iterator[dict[str, object]]:
    """One row of figures for each dancer of a video."""
    truth = json.loads((folder / f"{stem}.truth.json").read_text(encoding="utf-8"))
    with np.load(folder / truth["keypoints"], allow_pickle=False) as stored:
        keypoints = stored["tenths"] / 10.0
    width, height = truth["size"]
    side = max(width, height)
    whole = (-(side - width) // 2, -(side - height) // 2, side)
    found = np.zeros((*keypoints.shape[:3], 3))
    frames = 0
    for t, image in enumerate(read_frames(folder / f"{stem}.mp4")):
        frames += 1
        if t % every:
            continue
        for i in range(len(keypoints)):
            box = whole if len(keypoints) == 1 else box_around(keypoints[i, t])
            found[i, t] = detect(session, image, box)
    if frames != truth["frames"]:
        raise ValueError(f"{stem}.mp4 has {frames} frames, its truth {truth['frames']}")
    found = found[:, ::every]
    for i, real in enumerate(keypoints[:, ::every]):
        torso = np.linalg.norm(real[:, 5] - real[:, 12], axis=1)
        error = np.linalg.norm(found[i, ..., :2] - real, axis=-1) / torso[:, None]
        confident = found[i, ..., 2] >= 0.3
        yield {
            "video": stem,
            "dancer": i,
            "found": round(float((confident.sum(1) >= 12).mean()), 3),
            "pck": round(float((error < 0.2).mean()), 3),
            "pck_seen": round(float((error < 0.2)[confident].mean()), 3),
            "error": round(float(np.median(error)), 3),
        }


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="Measure MoveNet on the example videos.")
    parser.add_argument("stems", nargs="*", help="videos to check (default all)")
    parser.add_argument("--model", type=Path, required=True, help="MoveNet single-pose network as ONNX")
    parser.add_argument("--videos", type=Path, default=VIDEOS)
    parser.add_argument("--every", type=int, default=1, help="measure every n-th frame")
    options = parser.parse_args()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(options.model), settings, providers=["CPUExecutionProvider"])
    for stem in options.stems or sorted(path.stem for path in options.videos.glob("*.mp4")):
        for row in measure(session, stem, options.videos, options.every):
            print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
