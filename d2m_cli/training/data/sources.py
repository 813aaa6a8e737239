"""Dances and songs as they lie on disk: known by their content, and songs decoded once for all who ask in a row."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError
from d2m_cli.ground.digests import content_digest
from d2m_cli.media.audio import load_audio


def content_of(path: Path) -> str:
    """Digest of a file's content; read again only where its size or time changed.

    Raises
    ------
    InputError
        The file can't be read.
    """
    try:
        found = path.stat()
        return _content_of(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error


@cache
def _content_of(path: Path, _size: int, _changed: int) -> str:
    return content_digest(path)


def song(path: Path, rate: int) -> NDArray[np.float32]:
    """(channels, n) of a whole song at a rate in Hz; the last one asked for is held.

    Raises
    ------
    AudioError
        The file holds no audio that can be decoded.
    """
    return _song(path, rate, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=1)
def _song(path: Path, rate: int, _changed: int) -> NDArray[np.float32]:
    return load_audio(path, rate)[0]
