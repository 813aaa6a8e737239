"""Poses of one video by d2m, by rtmlib's batch-of-one loop on the same networks, and by the pose network alone.

::

    python -m pip install --no-deps rtmlib
    python benchmarks/pose_vs_rtmlib.py                           # examples/videos/lock_112.mp4 on the CPU
    python benchmarks/pose_vs_rtmlib.py dance.mp4 --device cuda --repeats 5

rtmlib's models are not needed: its ``RTMPose`` cuts each crop out, runs ONNX Runtime with its own settings and carries
the joints back; the network between is MoveNet Thunder, read by d2m's functions, and people come from MultiPose as
often as d2m looks at most (every fourth frame at 30 a second). Pictures come from OpenCV there. The floor is
Thunder on ready squares, once a frame, on as many threads as d2m takes. All take turns, after one that warms up;
printed are medians and the spread, of ratios too. CPU seconds leave out the process in which
d2m decodes, as it has not ended.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from side_by_side import EXAMPLES, by_turns, machine, ratios, told

from d2m_cli.ground.cores import cores
from d2m_cli.ground.devices import check_device_name
from d2m_cli.pose.estimator import DETECT_EVERY, DOUBTFUL, PoseEstimator
from d2m_cli.pose.movenet import MultiPose, decode_single
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.session import OnnxModel
from d2m_cli.pose.weights import pose_weights

VIDEO = EXAMPLES / "lock_112.mp4"


def rtmlib_loop(video: Path, device: str, folder: Path) -> Callable[[], int]:
    """A function that goes through the video as rtmlib does, and returns the number of frames."""
    from rtmlib import RTMPose

    def unpacked(name: str) -> str:
        path = folder / f"{name}.onnx"
        path.write_bytes(gzip.decompress(pose_weights(name).read_bytes()))
        return str(path)

    class Thunder(RTMPose):  # type: ignore[misc]
        """rtmlib's way from a picture to joints, around another network."""

        def inference(self, img: np.ndarray) -> dict[str, np.ndarray]:
            picture = np.ascontiguousarray(img[None], dtype=np.uint8)
            outputs = self.session.run(None, {self.session.get_inputs()[0].name: picture})
            return dict(zip((output.name for output in self.session.get_outputs()), outputs, strict=True))

        def postprocess(self, outputs: dict[str, np.ndarray], center: Any, scale: Any) -> tuple[Any, Any]:
            joints = decode_single(*(outputs[name] for name in ("centre", "heat", "regression", "offset")))
            return joints[..., :2] / self.model_input_size * scale + center - scale / 2, joints[..., 2]

    pose = Thunder(unpacked("movenet-thunder"), (256, 256), mean=None, std=None, backend="onnxruntime", device=device)
    model = OnnxModel(Path(unpacked("movenet-multipose")), device, batch=1, threads=cores())
    detector = MultiPose(model, PoseOptions().detect_longest)

    def loop() -> int:
        film = cv2.VideoCapture(str(video))
        every = max(1, round(film.get(cv2.CAP_PROP_FPS) * DETECT_EVERY[1]))
        count, boxes = 0, np.zeros((0, 4))
        while True:
            more, picture = film.read()
            if not more:
                return count
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            if count % every == 0:
                boxes = detector.detect(picture[None], DOUBTFUL)[0].boxes[:1]
            pose(picture, list(boxes))
            count += 1

    return loop


def network_alone(frames: int, device: str) -> Callable[[], int]:
    """A function that runs Thunder on so many squares that lie ready."""
    model = OnnxModel(pose_weights("movenet-thunder"), device)
    square = np.zeros((model.batch, 256, 256, 3), np.uint8)

    def run() -> int:
        with ThreadPoolExecutor(cores()) as threads:
            for _ in threads.map(lambda _: model(square), range(-(-frames // model.batch))):
                pass
        return frames

    return run


def main() -> int:
    """Measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", default=VIDEO)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, or cuda:1 of several")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    check_device_name(given.device)
    estimator = PoseEstimator(PoseOptions(device=given.device))
    plain = PoseEstimator(PoseOptions(device=given.device, camera=False))
    frames = len(estimator.estimate(given.video).tracks[0].times)
    ways: dict[str, Callable[[], object]] = {
        "d2m pose": lambda: estimator.estimate(given.video),
        "d2m pose, no camera motion": lambda: plain.estimate(given.video),
        "Thunder alone": network_alone(frames, given.device),
    }
    with tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("rtmlib") is None:
            print("rtmlib is not installed and not measured", file=sys.stderr)
        else:
            ways["rtmlib's loop"] = rtmlib_loop(given.video, given.device, Path(folder))
        took = by_turns(ways, given.repeats)
    print(machine(), f"{cores()} threads", estimator.provider, sep=", ")
    print(f"{given.video.name}: {frames} frames with poses, {given.repeats} repeats")
    for name, one in took.items():
        print(told(name, one))
    for name in ("rtmlib's loop", "Thunder alone"):
        if name in took:
            print(f"{name} over d2m pose: {ratios(took[name], took['d2m pose'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
