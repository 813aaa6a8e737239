"""Where files really lie, told of many without asking for each of their folders again."""

from __future__ import annotations

import os
from pathlib import Path


class RealPaths:
    """Resolves paths as `pathlib.Path.resolve` does, each folder once.

    For one look at many files: a folder that is moved meanwhile is not noticed.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """A path without links and dots."""
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        return os.path.join(self.folder(folder), name)

    def folder(self, folder: str) -> str:
        """The same of a folder, which is remembered."""
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return self._folders[folder]
