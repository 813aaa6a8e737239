"""What can be asked of poses; nothing here takes time to import."""

from __future__ import annotations

from dataclasses import dataclass

from d2m_cli.errors import UsageError
from d2m_cli.ground.devices import check_device_name
from d2m_cli.ground.options import option
from d2m_cli.hub.catalogue import CATALOGUE, POSE_KINDS, POSE_NETWORKS
from d2m_cli.media.passage import Passage
from d2m_cli.media.video import DECODERS
from d2m_cli.pose.dancers import check_dancers

DECODINGS = ("dark", "quarter")
"""How joints are read off HRNet's heat maps."""
DETECTORS = tuple(name for name in POSE_NETWORKS if name.startswith("rtmo-"))
"""Networks of the catalogue that find people by themselves."""


@dataclass(frozen=True)
class PoseOptions:
    """What to estimate with.

    Attributes
    ----------
    model
        "movenet" (embedded), a pose network of `d2m_cli.hub.catalogue`, "auto" for the best of these that is here, or
        "hrnet:PATH", "rtmpose:PATH" or "rtmo:PATH" with an .onnx file.
    detector
        "multipose" (embedded), an RTMO of the catalogue, or the path of an RTMDet, RTMO or NanoDet .onnx file.
    dancers
        "largest", "all", how many at most, or "only:N": see `d2m_cli.pose.dancers`. For "only:N" all are followed, and
        that one is kept.
    device
        "auto", "cpu", "cuda", or "cuda:1" of several.
    decoder
        "auto", "decord" or "pyav".
    flip_test, decoding
        For HRNet: see `HRNet`.
    longest
        Longer side in pixels at which frames are decoded.
    detect_longest
        Longer side in pixels of MultiPose's picture.
    camera
        Whether to estimate the camera's motion.
    batch
        Crops or frames that a network computes at once; 0 chooses (see `OnnxModel`).
    threads
        Batches at once: each is cut out, computed and read by one thread of the CPU (or by one and the GPU); 0 means
        all cores (see `d2m_cli.ground.cores`).
    max_frames_in_memory
        A video of at most this many frames is decoded once and held; of longer ones only a chunk is.
    start, duration
        The passage of the video that is looked at, in seconds: where it begins and how long it lasts, None to the end.
        Times of the poses count from where it begins.
    """

    model: str = "movenet"
    detector: str = "multipose"
    dancers: str | int = "largest"
    device: str = "auto"
    decoder: str = "auto"
    flip_test: bool = False
    decoding: str = "dark"
    longest: int = 640
    detect_longest: int = 384
    camera: bool = True
    batch: int = 0
    threads: int = 0
    max_frames_in_memory: int = 384
    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        _ = self.passage
        kind, _, path = self.model.partition(":")
        if self.model not in ("movenet", "auto", *POSE_NETWORKS) and not (kind in POSE_KINDS and path):
            raise UsageError(
                f"{option('model')}: there is no pose model {self.model!r}; use movenet, auto, "
                f"{', '.join(POSE_NETWORKS)}, or {', '.join(f'{kind}:PATH.onnx' for kind in POSE_KINDS)}"
            )
        detector = self.detector.removeprefix("rtmo:")
        if detector.startswith(("hrnet:", "rtmpose:")) or (detector in CATALOGUE and detector not in DETECTORS):
            raise UsageError(
                f"{option('detector')}: {self.detector!r} finds no people in a whole picture; use multipose, "
                f"{', '.join(DETECTORS)}, or the path of an RTMDet, RTMO or NanoDet .onnx file"
            )
        check_dancers(self.dancers)
        check_device_name(self.device)
        for name, known in (("decoder", DECODERS), ("decoding", DECODINGS)):
            if getattr(self, name) not in known:
                raise UsageError(f"{option(name)} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        least = {"longest": 64, "detect_longest": 64, "batch": 0, "threads": 0, "max_frames_in_memory": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise UsageError(f"{option(name)} must be at least {smallest}, not {getattr(self, name)}")

    @property
    def passage(self) -> Passage:
        """The part of the video that is looked at."""
        return Passage(self.start, self.duration)
