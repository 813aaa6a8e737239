"""Where the embedded pose networks are."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from d2m_cli.errors import MissingWeightsError

_PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (_PACKAGE / "_weights" / "pose", _PACKAGE.parent / "weights" / "pose")
"""In an installed wheel, and in a checkout."""


def pose_weights(name: str) -> Path:
    """Find an embedded network by its name, such as "movenet-thunder".

    Raises
    ------
    MissingWeightsError
        The installation lacks the file.
    """
    for folder in FOLDERS:
        path = folder / f"{name}.onnx"
        if path.is_file():
            return path
    raise MissingWeightsError(f"{name}.onnx is missing from this installation of d2m; install it again")


@lru_cache(maxsize=16)
def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
