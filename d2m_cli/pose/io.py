"""Pose files: ``<stem>.pose.npz``, plain arrays without objects, read without pickle.

==============  ====================  =====================================================
array           shape, type           content
==============  ====================  =====================================================
format          () str                "d2m-pose 1"
keypoints       (P, T, 17, 3) f4      x px, y px, score for each dancer, most prominent first
times           (T,) f8               seconds
frame_size      (2,) i8               width, height of the displayed picture in pixels
persons         (P,) i8               number of each track
duration        () f8                 seconds
joints          (17,) str             names, COCO order
camera          (T, 2, 3) f8          frame t to frame 0; absent where it is not known
about           () str                JSON: model, detector, hashes, provider, decoder, ...
==============  ====================  =====================================================
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.arrays import UNREADABLE, Arrays, open_npz
from d2m_cli.batch.atomic import atomic_path
from d2m_cli.errors import PoseFileError
from d2m_cli.pose.track import COCO_JOINTS, CameraMotion, Poses, PoseSource, PoseTrack

FORMAT = "d2m-pose 1"
SUFFIX = ".pose.npz"


def save_poses(path: Path, poses: Poses) -> None:
    """Write a pose file, whole or not at all.

    Raises
    ------
    OutputError
        The folder is read-only, the disk is full, a folder is in the way.
    """
    first = poses.tracks[0]
    if any(not np.array_equal(track.times, first.times) for track in poses.tracks):
        raise ValueError("all tracks of a video must have the same times")
    arrays: dict[str, NDArray[Any]] = {
        "format": np.array(FORMAT),
        "keypoints": np.stack([track.keypoints for track in poses.tracks]),
        "times": first.times,
        "frame_size": np.array(first.frame_size, np.int64),
        "persons": np.array([track.person for track in poses.tracks], np.int64),
        "duration": np.array(poses.duration, np.float64),
        "joints": np.array(COCO_JOINTS),
        "about": np.array(json.dumps({"model": first.model, "source": _plain(poses.source)}, sort_keys=True)),
    }
    if poses.camera is not None:
        arrays["camera"] = poses.camera.transforms
    with atomic_path(Path(path)) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_poses(path: Path) -> Poses:
    """Read a pose file.

    Raises
    ------
    PoseFileError
        The file is missing, is not a pose file, or its arrays do not fit together.
    """
    path = Path(path)
    try:
        with open_npz(path) as file:
            if "format" not in file.headers:
                raise PoseFileError(f"{path}: is not a pose file; make one with 'd2m pose'")
            found = str(file.read("format"))
            if found != FORMAT:
                raise PoseFileError(f"{path}: is of the format {found[:40]!r}, not {FORMAT!r}; make it again")
            return _poses_of(file)
    except PoseFileError:
        raise
    except FileNotFoundError as error:
        raise PoseFileError(f"{path}: no such file; make it with 'd2m pose'") from error
    except (*UNREADABLE, AttributeError) as error:
        raise PoseFileError(f"{path}: is not a readable pose file ({str(error)[:120]}); make it again") from error


def _poses_of(file: Arrays) -> Poses:
    shape = file.headers["keypoints"].shape
    if len(shape) != 4 or not shape[0]:
        raise ValueError(f"keypoints have the shape {shape}")
    times, keypoints = np.asarray(file.read("times"), np.float64), file.read("keypoints")
    width, height = (int(side) for side in file.read("frame_size"))
    about = json.loads(str(file.read("about")))
    tracks = tuple(
        PoseTrack(np.asarray(points, np.float32), times, (width, height), int(person), str(about["model"]))
        for points, person in zip(keypoints, file.read("persons"), strict=True)
    )
    camera = CameraMotion(np.asarray(file.read("camera"), np.float64), times) if "camera" in file.headers else None
    return Poses(tracks, camera, float(file.read("duration")), _source(about["source"]))


def _plain(source: PoseSource | None) -> dict[str, Any] | None:
    return None if source is None else asdict(source)


def _source(plain: dict[str, Any] | None) -> PoseSource | None:
    if plain is None:
        return None
    pairs = {name: tuple((str(key), str(value)) for key, value in plain[name]) for name in ("hashes", "settings")}
    texts = {name: str(plain[name]) for name in ("model", "detector", "provider", "decoder", "version")}
    return PoseSource(**texts, **pairs)  # type: ignore[arg-type]
