"""Where the embedded pose networks are."""

from __future__ import annotations

from pathlib import Path

from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.weights_path import weights_dir


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
