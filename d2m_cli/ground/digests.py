"""Files and settings by their content: what is the same gives the same digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any


def content_digest(path: Path) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of a file's whole content."""
    digest = blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def settings_digest(label: str, settings: Mapping[str, Any]) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of a command and its settings; the order of keys does not matter.

    Parameters
    ----------
    label
        The command, for example "generate".
    settings
        Values that JSON can hold, and paths.
    """
    text = json.dumps({"command": label, "settings": settings}, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def code_digest(*rooms: str) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of the source of rooms of d2m, by name: changed code may give other numbers."""
    house = Path(__file__).parents[1]
    digest = blake2b(digest_size=16)
    for room in rooms:
        for path in sorted((house / room).rglob("*.py")):
            digest.update(f"{path.relative_to(house).as_posix()} {content_digest(path)}\n".encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(folder: Path, parts: Sequence[str]) -> str:
    """sha256 over the weights files in some sub-folders, by name and content."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for path in sorted(p for p in (folder / part).iterdir() if p.suffix in (".safetensors", ".bin")):
            digest.update(f"{part}/{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
