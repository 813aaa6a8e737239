"""Where the models that ship with d2m lie."""

from __future__ import annotations

import os
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
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_weights", package.parent / "weights"):
        if folder.is_dir():
            return folder
    raise MissingWeightsError(
        f"the models that ship with d2m are not in {package / '_weights'} nor in {package.parent / 'weights'}; "
        "install d2m again with 'python -m pip install .' from a complete checkout"
    )


def data_home() -> Path:
    """Folder of what belongs to a user and not to d2m: ``$D2M_HOME``, else ``~/.local/share/d2m``.

    A process that has no home folder, as in containers that run under a bare user number, finds nothing there.
    """
    return Path(os.environ.get("D2M_HOME") or os.path.expanduser(os.path.join("~", ".local", "share", "d2m")))
