"""Where pose networks are: those that are embedded, those that were fetched by name, and files of the user's."""

from __future__ import annotations

from pathlib import Path

from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.hub.catalogue import CATALOGUE, POSE_KINDS, POSE_NETWORKS
from d2m_cli.hub.store import locate_if_here, named_path


def pose_weights(name: str) -> Path:
    """Find an embedded network by its name, such as "movenet-thunder".

    Raises
    ------
    MissingWeightsError
        The installation lacks the file.
    """
    path = weights_dir() / "pose" / f"{name}.onnx.gz"
    if not path.is_file():
        raise MissingWeightsError(f"{path.name} is missing from this installation of d2m; install it again")
    return path


def resolved(model: str) -> str:
    """A pose model by its own name: of "auto" the most accurate on COCO, as published, that is here, or MoveNet."""
    if model != "auto":
        return model
    here = (name for name in POSE_NETWORKS if locate_if_here(name) is not None)
    return next(here, "movenet")


def network_kind(model: str) -> str:
    """Which head reads a pose model: the part of its name before ":" or "-"."""
    return model.partition(":")[0].partition("-")[0]


def network_path(model: str) -> Path:
    """The .onnx file of a pose network or detector: a name of the catalogue, or a path with its kind before it.

    Raises
    ------
    MissingWeightsError
        It is a name, and not here.
    """
    kind, _, rest = model.partition(":")
    path = named_path(rest if kind in POSE_KINDS and rest else model)
    # Of a hub model the folder is named.
    return next(path.rglob("*.onnx"), path) if path.is_dir() else path


def network_name(model: str) -> str:
    """What a pose network is called in reports: its name in the catalogue, or that of its file."""
    return model if model in CATALOGUE else network_path(model).stem
