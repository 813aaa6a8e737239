"""Where the models that ship with d2m lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from d2m_cli.errors import MissingWeightsError


def weights_dir() -> Path:
    """Folder of the models that ship with d2m.

    Returns
    -------
    ``d2m_cli/_weights`` in an installed wheel, ``weights/`` beside the package in a checkout.

    Raises
    ------
    MissingWeightsError
        Neither is there: the package was copied without its weights.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_weights", package.parent / "weights"):
        if folder.is_dir():
            return folder
    raise MissingWeightsError(
        f"the models that ship with d2m are not in {package / '_weights'} nor in {package.parent / 'weights'}; "
        "install d2m again with 'python -m pip install .' from a complete checkout"
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
