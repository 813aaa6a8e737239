"""Arrays of numbers and text out of .npy and .npz files that may hold anything, read by any number of threads at once.

numpy has Python's parser read the headers of such files. CPython 3.11 can't run that in two threads at once ("AST
constructor recursion depth mismatch"), and on damaged bytes it fails in many ways. What numpy writes for plain arrays
is one fixed line, which a pattern reads; everything else, objects above all, is refused. Sizes are checked against the
file and against a limit before memory is asked for.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, OverflowError, RuntimeError, MemoryError,
              zipfile.BadZipFile, zlib.error)  # fmt: skip
"""What reading a damaged file raises; zipfile says RuntimeError where a bit makes an entry look encrypted."""
LARGEST = 1 << 30
"""Bytes that the arrays of one file may take in memory."""

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>|=]?[biufU]\d{1,9})',\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(\s*((?:\d{1,15}\s*,\s*)*(?:\d{1,15})?)\s*\),?\s*\}\s*"
)
_LONGEST_HEADER = 10_000
_DENSEST = 1040
"""Bytes that one byte of a deflated file can stand for, at most: 1032 and some room."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class Header:
    """What an array file says of its array.

    Attributes
    ----------
    dtype
        Of numbers, truth values or text.
    shape
        Of the array.
    fortran
        Whether the first axis runs fastest.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    @property
    def nbytes(self) -> int:
        """Size of the array's content."""
        return math.prod(self.shape) * self.dtype.itemsize


class Arrays:
    """The arrays of an open .npz file; see `open_npz`.

    Attributes
    ----------
    headers
        Of each array by its name.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int, largest: int) -> None:
        self._archive = archive
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        for name, entry in self._entries.items():
            _check_entry(name, entry, size)
        claimed = sum(entry.file_size for entry in self._entries.values())
        if claimed > largest:
            raise ValueError(f"its arrays would take {claimed} bytes, and {largest} are allowed")
        self.headers = {name: self._header(name) for name in self._entries}

    def _header(self, name: str) -> Header:
        with self._archive.open(self._entries[name]) as file:
            header = _read_header(file)
            if header.nbytes != self._entries[name].file_size - file.tell():
                raise ValueError(f"{name} says {header.nbytes} bytes and holds another number")
            return header

    def read(self, name: str) -> NDArray[Any]:
        """One array; one of `UNREADABLE` where it is damaged, KeyError where it is not there."""
        with self._archive.open(self._entries[name]) as file:
            header = _read_header(file)
            array = _content(file, header)
            # Only the read that meets the end compares the checksum.
            if file.read(1):
                raise ValueError(f"{name} goes on behind its end")
            return array


@contextmanager
def open_npz(path: Path, largest: int = LARGEST) -> Iterator[Arrays]:
    """Open a .npz file; its headers are read and checked, its arrays only when they are asked for.

    Parameters
    ----------
    path
        The file.
    largest
        Bytes that all arrays together may take.

    Raises
    ------
    OSError, ValueError and the others of `UNREADABLE`
        The file can't be opened, is no such file, is damaged, holds objects, or claims more than it can hold.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        with zipfile.ZipFile(file) as archive:
            yield Arrays(archive, size, largest)


def read_npy(path: Path, largest: int = LARGEST) -> NDArray[Any]:
    """The array of a .npy file; raises as `open_npz` does."""
    with path.open("rb") as file:
        header = _read_header(file)
        if header.nbytes > min(largest, os.fstat(file.fileno()).st_size):
            raise ValueError(f"says {header.nbytes} bytes and holds fewer")
        return _content(file, header)


def _check_entry(name: str, entry: zipfile.ZipInfo, size: int) -> None:
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is encrypted, or packed in an unknown way")
    densest = _DENSEST if entry.compress_type == zipfile.ZIP_DEFLATED else 1
    if entry.file_size > densest * min(entry.compress_size, size):
        raise ValueError(f"{name} says {entry.file_size} bytes, more than the file can hold")


def _read_header(file: IO[bytes]) -> Header:
    start = file.read(len(_MAGIC) + 2)
    if len(start) < len(_MAGIC) + 2 or not start.startswith(_MAGIC) or start[6] not in (1, 2, 3):
        raise ValueError("holds no array of numpy's")
    count = file.read(2 if start[6] == 1 else 4)
    length = int.from_bytes(count, "little")
    text = file.read(min(length, _LONGEST_HEADER + 1))
    if len(text) < length:
        raise ValueError("an array's header is cut short, or too long")
    found = _HEADER.fullmatch(text.decode("latin1"))
    if found is None:
        raise ValueError("an array's header is damaged, or names something else than numbers and text")
    shape = tuple(int(side) for side in found[3].split(",") if side.strip())
    return Header(np.dtype(found[1]), shape, found[2] == "True")


def _content(file: IO[bytes], header: Header) -> NDArray[Any]:
    if not header.nbytes:
        return np.zeros(header.shape, header.dtype)
    # Not filled: memory that the file has no bytes for is never touched.
    flat = np.empty(header.nbytes, np.uint8)
    at = 0
    while at < len(flat):
        piece = file.read(min(_PIECE, len(flat) - at))
        if not piece:
            raise EOFError(f"an array ends after {at} of {len(flat)} bytes")
        flat[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return flat.view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")
