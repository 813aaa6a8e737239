"""What the two sides of a media process say to each other: JSON, arrays as bytes, and file handles of shared memory."""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.media.orientation import Orientation
from d2m_cli.media.timeline import Colour, Part, Timeline

Message = dict[str, Any]


def send(
    link: socket.socket, message: Mapping[str, Any], blobs: Sequence[bytes] = (), handle: int | None = None
) -> None:
    """Send one message: values that JSON can hold, byte strings, and a file handle to hand a copy of."""
    text = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}).encode()
    socket.send_fds(link, [struct.pack(">I", len(text))], [] if handle is None else [handle])
    link.sendall(text)
    for blob in blobs:
        link.sendall(blob)


def receive(link: socket.socket) -> tuple[Message, list[bytes], int | None]:
    """The next message, its byte strings, and its file handle.

    Raises
    ------
    EOFError
        The other side is gone.
    TimeoutError
        Nothing came within the time the link allows.
    """
    head, handles, _, _ = socket.recv_fds(link, 4, 1)
    head += _exactly(link, 4 - len(head)) if head else b""
    if not head:
        raise EOFError
    message = json.loads(_exactly(link, struct.unpack(">I", head)[0]))
    blobs = [_exactly(link, length) for length in message.pop("blobs")]
    return message, blobs, handles[0] if handles else None


def _exactly(link: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = link.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def shared_memory(size: int) -> int:
    """Handle of a new piece of memory of `size` bytes that has no name and is gone with its last user."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("d2m")
    else:
        handle, name = tempfile.mkstemp()
        os.unlink(name)
    os.ftruncate(handle, size)
    return handle


def pack(timeline: Timeline) -> tuple[Message, list[bytes]]:
    """A timeline as a message; `unpack` makes it again."""
    values = asdict(timeline)
    for name in ("times", "order", "keys"):
        values.pop(name)
    values["path"] = os.path.abspath(timeline.path)
    values["time_base"] = [timeline.time_base.numerator, timeline.time_base.denominator]
    return values, [timeline.times.tobytes(), timeline.order.tobytes(), timeline.keys.tobytes()]


def unpack(values: Message, blobs: Sequence[bytes]) -> Timeline:
    """The timeline that `pack` made a message of."""
    return Timeline(**{
        **values,
        "path": Path(values["path"]),
        "orientation": Orientation(**values["orientation"]),
        "colour": Colour(**values["colour"]),
        "time_base": Fraction(*values["time_base"]),
        "notes": tuple(values["notes"]),
        "times": _array(blobs[0], np.float64),
        "order": _array(blobs[1], np.int64),
        "keys": _array(blobs[2], np.int64),
        "part": Part(**values["part"]) if values["part"] is not None else None,
    })  # fmt: skip


def _array(content: bytes, kind: Any) -> NDArray[Any]:
    return np.frombuffer(content, kind).copy()
