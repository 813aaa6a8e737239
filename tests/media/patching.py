"""Bytes of video files changed by hand, for what no encoder writes (ISO/IEC 14496-12, ISO/IEC 13818-1)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.media.pattern import Orientation

_FOLDERS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"udta")

Edit = tuple[int, int]
"""Length in ticks of the movie's clock and first time in ticks of the track's; -1 shows nothing for that long."""


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and payload of the boxes that `content` is made of."""
    place = 0
    while place < len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if size == 0:
            size = len(content) - place
        if size < 8:
            raise ValueError("a box of more than 4 GiB, or none")
        yield kind, content[place + 8 : place + size]
        place += size


def box(kind: bytes, payload: bytes) -> bytes:
    """A box as it stands in a file."""
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def change_movie(path: Path, change: Callable[[bytes, bytes], bytes]) -> None:
    """Give every box inside `moov` another payload: `change(kind, payload)`. `moov` must be the last box."""
    parts = list(boxes(path.read_bytes()))
    if parts[-1][0] != b"moov":
        raise ValueError(f"{path}: places of samples would move")

    def walk(kind: bytes, payload: bytes) -> bytes:
        if kind in _FOLDERS:
            payload = b"".join(box(inner, walk(inner, rest)) for inner, rest in boxes(payload))
        return change(kind, payload)

    path.write_bytes(b"".join(box(kind, walk(kind, rest) if kind == b"moov" else rest) for kind, rest in parts))


def set_orientation(path: Path, orientation: Orientation, size: tuple[int, int]) -> None:
    """Write a display matrix into the header of every picture track; `size` is the stored (width, height)."""
    width, height = size
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[orientation.turn]
    across = -1 if orientation.mirrored else 1
    a, b, c, d = across * cos, across * sin, -sin, cos
    # The picture is moved back so that its top left corner is at 0, 0.
    x, y = -min(0, a * width) - min(0, c * height), -min(0, b * width) - min(0, d * height)
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 1 << 30)

    def change(kind: bytes, payload: bytes) -> bytes:
        # The last 8 bytes are width and height, 0 for sound.
        return payload[:-44] + matrix + payload[-8:] if kind == b"tkhd" and any(payload[-8:]) else payload

    change_movie(path, change)


def set_edits(path: Path, edits: list[Edit]) -> None:
    """Give every track these edits in place of its own."""
    listed = struct.pack(">II", 0, len(edits)) + b"".join(
        struct.pack(">IihH", length, first, 1, 0) for length, first in edits
    )
    seconds = sum(length for length, _ in edits)

    def change(kind: bytes, payload: bytes) -> bytes:
        if kind == b"elst":
            return listed
        if kind == b"tkhd":
            return payload[:20] + struct.pack(">I", seconds) + payload[24:]
        if kind == b"mvhd":
            return payload[:16] + struct.pack(">I", seconds) + payload[20:]
        return payload

    change_movie(path, change)


def put_metadata_first(path: Path) -> None:
    """Move `udta`, where a cover picture is, in front of the tracks."""

    def change(kind: bytes, payload: bytes) -> bytes:
        if kind != b"moov":
            return payload
        inner = sorted(boxes(payload), key=lambda part: (b"mvhd", b"udta").index(part[0]) if part[0] != b"trak" else 2)
        return b"".join(box(*part) for part in inner)

    change_movie(path, change)


def drop_stamps(path: Path, keep_every: int) -> None:
    """Take the time stamps out of all stamped picture packets (PES) of a .ts or .mpg but every n-th."""
    content = bytearray(path.read_bytes())
    for count, place in enumerate(_stamped(content)):
        if count % keep_every:
            content[place + 7] &= 0x3F
            content[place + 9 : place + 9 + content[place + 8]] = b"\xff" * content[place + 8]
    path.write_bytes(bytes(content))


def picture_stamps(content: bytes) -> list[int]:
    """Display times in 1/90000 s, as they stand in the picture packets of a .ts, .m2ts or .mpg."""
    stamps = []
    for place in _stamped(content):
        high, middle, low = struct.unpack_from(">BHH", content, place + 9)
        stamps.append((high >> 1 & 7) << 30 | middle >> 1 << 15 | low >> 1)
    return stamps


def _stamped(content: bytes | bytearray) -> Iterator[int]:
    """Places of the picture packets that have a time stamp."""
    place = content.find(b"\0\0\1\xe0")
    while place >= 0:
        if content[place + 6] >> 6 == 0b10 and content[place + 7] & 0x80:
            yield place
        place = content.find(b"\0\0\1\xe0", place + 4)
