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
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import PoseFileError
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.npz import LARGEST, UNREADABLE, Arrays, open_npz
from d2m_cli.ground.options import option
from d2m_cli.pose.track import COCO_JOINTS, CameraMotion, Poses, PoseSource, PoseTrack, check_times

FORMAT = "d2m-pose 1"
SUFFIX = ".pose.npz"

_NEEDED = ("keypoints", "times", "frame_size", "persons", "duration", "about")
_HEADERS = 10_000
"""Bytes that the headers of all arrays stay under."""


def save_poses(path: Path, poses: Poses) -> None:
    """Write a pose file, whole or not at all.

    Raises
    ------
    OutputError
        The folder is read-only, the disk is full, a folder is in the way.
    PoseFileError
        The poses are more than `load_poses` would read back.
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
    if sum(array.nbytes for array in arrays.values()) + _HEADERS > LARGEST:
        raise PoseFileError(
            f"{path}: {len(first.times)} pictures of {len(poses.tracks)} dancers are more than a pose file may hold "
            f"({LARGEST >> 20} MiB); cut the video, or follow fewer dancers with {option('dancers')}"
        )
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
        if path.exists() and not path.is_file():
            raise PoseFileError(f"{path}: is no file; name one that 'd2m pose' made")
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
        told = str(error) or type(error).__name__
        raise PoseFileError(f"{path}: is not a readable pose file ({told[:160]}); make it again") from error


def _poses_of(file: Arrays) -> Poses:
    missing = [name for name in _NEEDED if name not in file.headers]
    if missing:
        raise ValueError(f"it holds no {', '.join(missing)}")
    if "joints" in file.headers and tuple(file.read("joints").flat) != COCO_JOINTS:
        raise ValueError("its joints are not the 17 of COCO, in their order")
    # Times first: they are short, can't be packed small, and say how large all the rest may be.
    times = _numbers(file, "times", (math.prod(file.headers["times"].shape),)).astype(np.float64)
    check_times(times)
    shape = file.headers["keypoints"].shape
    people = shape[0]
    if not people or not len(times) or shape != (people, len(times), len(COCO_JOINTS), 3):
        raise ValueError(f"keypoints have the shape {shape}, and there are {len(times)} times")
    size = _numbers(file, "frame_size", (2,), "iu")
    persons = _numbers(file, "persons", (people,), "iu")
    duration = float(_numbers(file, "duration", ()))
    model, source = _about(str(file.read("about")))
    with np.errstate(over="ignore"):
        keypoints = _numbers(file, "keypoints", shape, "f").astype(np.float32, copy=False)
    camera = None
    if "camera" in file.headers:
        camera = CameraMotion(_numbers(file, "camera", (len(times), 2, 3)).astype(np.float64), times)
    tracks = tuple(
        PoseTrack(points, times, (int(size[0]), int(size[1])), int(person), model)
        for points, person in zip(keypoints, persons, strict=True)
    )
    return Poses(tracks, camera, duration, source)


def _numbers(file: Arrays, name: str, shape: tuple[int, ...], kinds: str = "fiu") -> NDArray[Any]:
    header = file.headers[name]
    if header.shape != shape or header.dtype.kind not in kinds:
        raise ValueError(f"{name} are {header.dtype} {header.shape}, which does not fit the rest")
    return file.read(name)


def _about(text: str) -> tuple[str, PoseSource | None]:
    about = json.loads(text)
    if not isinstance(about, dict) or not isinstance(about.get("model"), str):
        raise ValueError("about names no model")
    model = about["model"]
    if not model.isprintable():
        raise ValueError(f"about names a model with signs that can't be printed: {model[:40]!r}")
    return model, _source(about.get("source"))


def _plain(source: PoseSource | None) -> dict[str, Any] | None:
    return None if source is None else asdict(source)


def _source(plain: Any) -> PoseSource | None:
    if plain is None:
        return None
    pairs = {name: tuple((str(key), str(value)) for key, value in plain[name]) for name in ("hashes", "settings")}
    texts = {name: str(plain[name]) for name in ("model", "detector", "provider", "decoder", "version")}
    return PoseSource(**texts, **pairs)  # type: ignore[arg-type]
