"""What lies in a folder."""

from __future__ import annotations

import os
from pathlib import Path


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in sorted order, links to folders among them, but no hidden ones.

    Raises
    ------
    OSError
        It can't be looked into.
    """
    with os.scandir(folder) as found:
        # A link in a circle, or into a closed folder, is none.
        names = sorted(one.name for one in found if not one.name.startswith(".") and os.path.isdir(one.path))
    return [folder / name for name in names]
