"""From a video file to poses: detect, tie into tracks, choose the dancers, find their joints.

The video is gone through twice, a chunk of frames at a time: once for who is where (and how the camera moves), once for
the joints of the dancers chosen. A video short enough to be held in memory is decoded only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from d2m_cli import __version__
from d2m_cli.errors import NoPersonError
from d2m_cli.ground.cores import cores
from d2m_cli.ground.one_core import spare_core
from d2m_cli.ground.progress import Report, silent
from d2m_cli.ground.spread import spread
from d2m_cli.media.timeline import Part, Timeline
from d2m_cli.media.video import FrameChunk, VideoReader, probe
from d2m_cli.pose.camera_thread import CameraThread
from d2m_cli.pose.dancers import only_dancer, to_follow
from d2m_cli.pose.detector import load_detector, without_doubles
from d2m_cli.pose.geometry import apply_affine, crop_matrix, invert_affine, warp
from d2m_cli.pose.heads import RTMO, RTMPose
from d2m_cli.pose.hrnet import HRNet
from d2m_cli.pose.lookout import Looked, Lookout
from d2m_cli.pose.movenet import Detections, Thunder
from d2m_cli.pose.opencv import no_threads_of_its_own
from d2m_cli.pose.options import PoseOptions as PoseOptions
from d2m_cli.pose.scenes import PADDING, WIDER, Scene, find_scenes
from d2m_cli.pose.selection import choose, fill_gaps
from d2m_cli.pose.session import CUDA, ON_GPU, OnnxModel
from d2m_cli.pose.settings import heeded, takes_gpu
from d2m_cli.pose.thinned import thinned, thinning
from d2m_cli.pose.track import CameraMotion, Poses, PoseSource, PoseTrack, tracks_of
from d2m_cli.pose.tracking import Track, Tracker
from d2m_cli.pose.weights import network_kind, network_name, network_path, pose_weights, resolved

DOUBTFUL = 0.1
"""Detections scoring less are not looked at."""

PRESENT = 0.15
"""Mean joint score below which a frame shows nobody."""

EDGE = 0.03
"""Joints nearer than this share of its longer side to the edge of a crop may be those of a dancer it cut..."""

VISIBLE = 0.2
"""...where they score so much."""

DETECT_EVERY = {1: 0.13, 2: 0.07}
"""Seconds between detections for one dancer, and for several, who may cross."""

CHUNK = 32
"""Frames decoded at once."""

CROPS_ON_GPU = 16
"""Crops that a GPU is shown at once. Of one dancer a chunk holds twice as many, or as many from 50 frames a second on,
of which every second one is taken: larger batches would be filled up with what nobody needs."""

IN_HAND = 4
"""Batches in hand at least, so that some are cut out and read while the GPU computes another."""


class PoseNetwork(Protocol):
    """Finds the joints of one person in a crop."""

    name: str
    model: OnnxModel
    crop_size: tuple[int, int]

    def crop_for(self, boxes: NDArray[np.float64]) -> tuple[int, int]:
        """Crop (width, height) that suits a dancer's boxes (n, 4); `crop_size` is the widest."""
        ...

    def joints(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n, h, w, 3) RGB crops to (n, 17, 3) x and y in crop pixels, score."""
        ...


class PoseEstimator:
    """Networks loaded once, for any number of videos.

    Parameters
    ----------
    options
        Which networks, and where they run.
    yields
        Whether its threads wait for a core that those leave which make the music of another dance, where they compute
        on a CPU (`d2m_cli.ground.one_core`). What comes of it is the same.
    tell
        Told each time that a network computes less at once for want of memory.

    Attributes
    ----------
    description
        Which networks run where, in words.
    model_hashes
        Name of each network to the SHA-256 of its file.

    Raises
    ------
    MissingWeightsError, UsageError
        A network is not there, does not fit, or CUDA was asked for and is not to be had.
    MemoryError
        There is no memory for a network.
    """

    def __init__(
        self, options: PoseOptions | None = None, yields: bool = False, tell: Callable[[str], None] | None = None
    ) -> None:
        self.options = options or PoseOptions()
        self._network = _load_network(self.options, tell)
        self._detector = load_detector(
            self.options.detector,
            self.options.device,
            self.options.batch,
            self.options.detect_longest,
            tell,
        )
        self._width = self.options.threads or cores()
        self._threads = ThreadPoolExecutor(self._width, "d2m-pose")
        self._core: Callable[[], AbstractContextManager[None]] = (
            spare_core if yields and not takes_gpu(self.options.device) else nullcontext
        )

    @property
    def model_hashes(self) -> dict[str, str]:
        return {used.name: used.model.sha256 for used in (self._network, self._detector)}

    @property
    def provider(self) -> str:
        """The execution providers that really compute, joined where they differ."""
        return "+".join(dict.fromkeys(used.model.provider for used in (self._network, self._detector)))

    @property
    def description(self) -> str:
        return f"{self._network.name} with {self._detector.name} on {self.provider}"

    def estimate(self, video: Path, report: Report | None = None, timeline: Timeline | None = None) -> Poses:
        """Find the dancers of one video.

        Parameters
        ----------
        video
            The file.
        report
            Told where the work is.
        timeline
            Of the video, or of a passage of it, where it was read already; else it is that of the options' passage.

        Raises
        ------
        VideoError
            The file can't be decoded to its end.
        NoPersonError
            Nobody was found in it.
        """
        with no_threads_of_its_own():
            return self._estimate(video, report or silent, timeline)

    def _estimate(self, video: Path, told: Report, timeline: Timeline | None) -> Poses:
        timeline = timeline or probe(video, self.options.passage)
        reader = VideoReader(video, self.options.longest, CHUNK, self.options.decoder, timeline)
        step = self._detection_step(reader.info.fps / thinning(reader.info.fps))
        tracks, times, camera, held = self._look(reader, step, told)
        duration, part = reader.info.duration, reader.info.part
        chosen = choose(tracks, to_follow(self.options.dancers), duration)
        if not chosen:
            raise NoPersonError(f"{reader.path}: nobody was found; is a dancer in the picture, and large enough?")
        scenes = find_scenes(chosen, tracks, times, step, self._network.crop_for)
        again = held if held is not None else thinned(reader, reader.info.fps)
        found = self._find_joints(again, scenes, len(times), told)
        grow = _scale(reader)
        dancers = _pose_tracks(found, times, grow, (reader.info.width, reader.info.height), self._network.name)
        if not dancers:
            raise NoPersonError(
                f"{reader.path}: a person was made out, but no joints; is the picture too dark or small?"
            )
        if only_dancer(self.options.dancers) is not None:
            try:
                dancers = tracks_of(dancers, self.options.dancers)
            except NoPersonError as error:
                raise NoPersonError(f"{reader.path}: {error}") from None
        return Poses(dancers, camera, duration, self._source(reader.decoder, part))

    def _detection_step(self, fps: float) -> int:
        several = self.options.dancers not in ("largest", 1)
        return max(1, round(fps * DETECT_EVERY[2 if several else 1]))

    def _look(
        self, reader: VideoReader, step: int, told: Report
    ) -> tuple[list[Track], NDArray[np.float64], CameraMotion | None, list[FrameChunk] | None]:
        """First pass: tracks (most prominent first), times of all frames, camera motion, and the frames if few."""
        frames = reader.info.frames // thinning(reader.info.fps)
        held: list[FrameChunk] | None = [] if frames <= self.options.max_frames_in_memory else None
        tracker, lookout = Tracker(), Lookout(self._detect, step)
        times: list[NDArray[np.float64]] = []
        with CameraThread(self.options.camera, reader.info.fps / thinning(reader.info.fps)) as camera:

            def take(frames: list[Looked]) -> None:
                for frame in frames:
                    if frame.people is not None:
                        tracker.add(frame.number, frame.time, frame.people, frame.picture)
                camera.add(frames)

            for chunk in thinned(reader, reader.info.fps):
                if held is not None:
                    held.append(chunk)
                take(lookout.add(chunk))
                times.append(chunk.times)
                told("looking for dancers", 0.4 * min(1.0, (chunk.start + len(chunk.times)) / max(1, frames)))
            take(lookout.finish())
            stamps = np.concatenate(times)
            motion = camera.finish(stamps, _scale(reader))
        return tracker.finish(), stamps, motion, held

    def _detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """People in each of some frames."""
        size = self._detector.model.batch
        parts = [pictures[start : start + size] for start in range(0, len(pictures), size)]

        def detect(part: Sequence[NDArray[np.uint8]]) -> list[Detections]:
            with self._core():
                return [without_doubles(found) for found in self._detector.detect(np.stack(part), DOUBTFUL)]

        return [found for people in spread(self._threads, detect, parts, self._width) for found in people]

    def _find_joints(
        self,
        chunks: Iterable[FrameChunk],
        scenes: list[Scene],
        count: int,
        told: Report,
    ) -> list[NDArray[np.float64]]:
        """Second pass: joints (T, 17, 3) of each dancer in frame pixels; NaN where there is no box."""
        joints = [np.full((count, 17, 3), np.nan) for _ in scenes]
        for found in spread(self._threads, self._crops, self._wanted(chunks, scenes), self._in_hand):
            for number, frame, points in found:
                joints[number][frame] = points
            told("finding joints", 0.4 + 0.6 * min(1.0, (found[-1][1] + 1) / count))
        for number, scene in enumerate(scenes):
            scene.keep_own(joints[number])
        return joints

    @property
    def _in_hand(self) -> int:
        """Batches of crops that are taken and not done: of large ones fewer, for they hold their frames."""
        batch, most = self._network.model.batch, 2 * self._width
        return most if batch <= ON_GPU else min(most, max(IN_HAND, most * ON_GPU // batch))

    def _wanted(self, chunks: Iterable[FrameChunk], scenes: list[Scene]) -> Iterator[list[_Crop]]:
        """What is to be cut out of the frames, a batch of one dancer at a time."""
        batch = self._network.model.batch
        for chunk in chunks:
            for number, scene in enumerate(scenes):
                wanted = [
                    _Crop(number, frame, picture, scene.boxes[frame], scene.crop)
                    for frame, picture in enumerate(chunk.frames, chunk.start)
                    if scene.shows(frame)
                ]
                yield from (wanted[start : start + batch] for start in range(0, len(wanted), batch))

    def _crops(self, wanted: list[_Crop]) -> list[tuple[int, int, NDArray[np.float64]]]:
        """Dancer, frame, and joints (17, 3) in frame pixels of one batch."""
        with self._core():
            return self._seen(wanted)

    def _seen(self, wanted: list[_Crop]) -> list[tuple[int, int, NDArray[np.float64]]]:
        joints, cut = self._look_at(wanted, wanted[0].size, PADDING)
        again = np.flatnonzero(cut)
        if len(again):
            wider, _ = self._look_at([wanted[index] for index in again], self._network.crop_size, WIDER)
            surer = wider[:, :, 2].mean(axis=1) > joints[again, :, 2].mean(axis=1)
            joints[again[surer]] = wider[surer]
        return [(crop.dancer, crop.frame, points) for crop, points in zip(wanted, joints, strict=True)]

    def _look_at(
        self, wanted: list[_Crop], size: tuple[int, int], padding: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Joints (n, 17, 3) in frame pixels, and whether a crop of this size seems to have cut the dancer."""
        matrices = [crop_matrix(crop.box, size, padding) for crop in wanted]
        cuts = [warp(crop.picture, matrix, size) for crop, matrix in zip(wanted, matrices, strict=True)]
        joints = self._network.joints(np.stack(cuts))
        edge = EDGE * max(size)
        near = (joints[..., :2] < edge) | (joints[..., :2] > np.array(size) - 1 - edge)
        for points, matrix in zip(joints, matrices, strict=True):
            points[:, :2] = apply_affine(invert_affine(matrix), points[:, :2])
        return joints, np.any(near.any(axis=2) & (joints[..., 2] >= VISIBLE), axis=1)

    def _source(self, decoder: str, part: Part | None) -> PoseSource:
        options = heeded(self.options)
        kept = ("dancers", "flip_test", "decoding", "longest", "detect_longest", "camera")
        settings = tuple((name, str(getattr(options, name))) for name in kept)
        if part is not None:
            settings += (("start", str(part.start)),)
        if CUDA in self.provider:
            # The last bits hang on the sizes there, as they are in the end.
            sizes = {"batch": self._network.model.batch, "detector_batch": self._detector.model.batch}
            settings += tuple((name, str(size)) for name, size in sizes.items())
        hashes = tuple(self.model_hashes.items())
        names = (self._network.name, self._detector.name)
        return PoseSource(*names, hashes, self.provider, decoder, settings, __version__)


def _load_network(options: PoseOptions, tell: Callable[[str], None] | None = None) -> PoseNetwork:
    def load(path: Path) -> OnnxModel:
        return OnnxModel(path, options.device, options.batch, on_gpu=CROPS_ON_GPU, tell=tell)

    chosen = resolved(options.model)
    if chosen == "movenet":
        return Thunder(load(pose_weights("movenet-thunder")))
    model, name = load(network_path(chosen)), network_name(chosen)
    kind = network_kind(chosen)
    if kind == "hrnet":
        return HRNet(model, name, options.flip_test, options.decoding)
    return RTMPose(model, name) if kind == "rtmpose" else RTMO(model, name)


class _Crop(NamedTuple):
    """What the pose network is shown: a dancer's number, a frame's, the frame, the dancer's box, the crop's size."""

    dancer: int
    frame: int
    picture: NDArray[np.uint8]
    box: NDArray[np.float64]
    size: tuple[int, int]


def _scale(reader: VideoReader) -> tuple[float, float]:
    """Displayed pixels per frame pixel, across and down."""
    return reader.info.width / reader.size[0], reader.info.height / reader.size[1]


def _pose_tracks(
    found: list[NDArray[np.float64]],
    times: NDArray[np.float64],
    grow: tuple[float, float],
    frame_size: tuple[int, int],
    model: str,
) -> tuple[PoseTrack, ...]:
    """Dancers in displayed pixels; those never really seen are left out."""
    tracks: list[PoseTrack] = []
    for joints in found:
        present = np.nan_to_num(joints[:, :, 2].mean(axis=1)) >= PRESENT
        if not present.any():
            continue
        large = joints.copy()
        large[..., :2] = (joints[..., :2] + 0.5) * grow - 0.5
        large[..., 2] = np.clip(joints[..., 2], 0, 1)
        tracks.append(PoseTrack(fill_gaps(large, present), times, frame_size, len(tracks), model))
    return tuple(tracks)
