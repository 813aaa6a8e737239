"""The process in which media files are read: whatever a file does to a decoder, it does it here.

Started by `d2m_cli.media.process`. It takes one request after the other from a socket, and is told and tells as
`d2m_cli.media.messages` has it. It ends where the other side does. No torch in here: a start takes a third of a second.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from d2m_cli.errors import D2MError
from d2m_cli.media.messages import Message, pack, receive, send, unpack
from d2m_cli.media.timeline_reading import read_timeline

BEAT = 1.0
"""Seconds between signs of life."""
MEMORY = 1_500_000_000
"""Bytes of its own that the process may hold, beside the pictures themselves."""
PICTURES = 64
"""Full-size pictures that a decoder may hold beyond that: its threads and its references, each a few."""


class _Link:
    """The worker's end of the socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._told = 0.0
        self.shared: mmap.mmap | None = None

    def beat(self, count: int) -> None:
        """Tell that work goes on, at most once a second."""
        now = time.monotonic()
        if now - self._told >= BEAT:
            self._told = now
            self.send({"beat": count})

    def send(self, message: Message, blobs: tuple[bytes, ...] | list[bytes] = ()) -> None:
        send(self._link, message, blobs)

    def receive(self) -> tuple[Message, list[bytes], int | None]:
        return receive(self._link)


def serve(link_handle: int, life_handle: int) -> None:
    """Answer requests until the other side is gone.

    Parameters
    ----------
    link_handle
        The socket.
    life_handle
        A pipe whose other end the parent holds: it closes when the parent dies, however that comes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(life_handle,), daemon=True).start()
    _quiet()
    link = _Link(socket.socket(fileno=link_handle))
    link.send({"ready": True})
    while True:
        try:
            request, blobs, handle = link.receive()
        except EOFError:
            return
        if request["do"] == "taken":
            continue  # the last pictures of an earlier request
        try:
            _OPERATIONS[request["do"]](link, request, blobs, handle)
        except D2MError as error:
            link.send({"error": type(error).__name__, "text": str(error)})
        except MemoryError:
            link.send({"broken": "it needs more memory than a video should"})
        except (EOFError, BrokenPipeError, ConnectionError):
            return
        except Exception:
            link.send({"unforeseen": traceback.format_exc()})
        finally:
            if handle is not None:
                os.close(handle)
            # PyAV's containers and streams refer to each other: what a file held would stay, and count for the next.
            gc.collect()


def _die_with(handle: int) -> None:
    while os.read(handle, 1):
        pass
    os._exit(1)


def _quiet() -> None:
    import av

    av.logging.set_level(None)


def _allow(bytes_more: int) -> None:
    """Let the process hold so much; a file that asks for more fails alone."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = MEMORY + bytes_more
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _timeline(link: _Link, request: Message, blobs: list[bytes], handle: int | None) -> None:
    _allow(0)
    values, arrays = pack(read_timeline(Path(request["path"]), link.beat))
    link.send({"timeline": values}, arrays)


def _pictures(link: _Link, request: Message, blobs: list[bytes], handle: int | None) -> None:
    """Pictures by shared memory of two halves: one is read while the other is filled."""
    from d2m_cli.media.pictures import DecordPictures, DoubtError, in_chunks

    timeline = unpack(request["timeline"], blobs)
    width, height = request["size"]
    chunk: int = request["chunk"]
    _allow(PICTURES * 4 * timeline.width * timeline.height + 2 * chunk * width * height * 3)
    if handle is not None:
        link.shared = mmap.mmap(handle, 2 * chunk * width * height * 3)
    assert link.shared is not None, "pictures need shared memory"
    halves = np.frombuffer(link.shared, np.uint8).reshape(2, chunk, height, width, 3)
    try:
        decord = DecordPictures(timeline, (width, height), link.beat) if request["decord"] else None
        taken = in_chunks(timeline, (width, height), chunk, request["after"], decord, link.beat)
        for number, (ranks, pictures) in enumerate(taken):
            # The other side tells when it has taken a half; one of two may still be on its way.
            if number > 1:
                link.receive()
            for place, picture in zip(halves[number % 2], pictures, strict=False):
                place[...] = picture
            link.send({"half": number % 2}, [np.asarray(ranks, np.int64).tobytes()])
        link.send({"end": True})
    except DoubtError as error:
        link.send({"doubt": str(error)})


def _check_decord(link: _Link, request: Message, blobs: list[bytes], handle: int | None) -> None:
    from d2m_cli.media.pictures import DecordPictures, DoubtError

    timeline = unpack(request["timeline"], blobs)
    _allow(PICTURES * 4 * timeline.width * timeline.height)
    try:
        DecordPictures(timeline, tuple(request["size"]), link.beat)
    except DoubtError as error:
        link.send({"doubt": str(error)})
    else:
        link.send({"ready": True})


def _film(link: _Link, request: Message, blobs: list[bytes], handle: int | None) -> None:
    from d2m_cli.media.film import write_film
    from d2m_cli.media.film_formats import FILM_FORMATS

    assert handle is not None, "sound comes in a file"
    timeline = unpack(request["timeline"], blobs)
    # The encoder holds pictures too.
    _allow(2 * PICTURES * 4 * timeline.width * timeline.height)
    shape = (request["channels"], request["count"])
    samples = np.frombuffer(mmap.mmap(handle, 0), np.float32, shape[0] * shape[1]).reshape(shape)
    try:
        film = write_film(
            timeline,
            samples,
            request["rate"],
            Path(request["part"]),
            link.beat,
            kind=FILM_FORMATS[request["kind"]],
            titles=request["titles"],
            comment=request["comment"],
        )
    except OSError as error:
        link.send({"system": [error.errno, error.strerror, error.filename]})
    else:
        link.send({"copied": film.copied, "note": film.note, "seconds": film.seconds})


def _sound(link: _Link, request: Message, blobs: list[bytes], handle: int | None) -> None:
    from d2m_cli.media.sound import decode_sound

    _allow(0)
    asked = {name: request[name] for name in ("zero", "seconds", "stereo") if name in request}
    for rate, block in decode_sound(Path(request["path"]), link.beat, **asked):
        link.send({"rate": rate, "channels": len(block)}, [np.ascontiguousarray(block).tobytes()])
    link.send({"end": True})


def _sound_length(link: _Link, request: Message, blobs: list[bytes], handle: int | None) -> None:
    from d2m_cli.media.sound import sound_length

    _allow(0)
    link.send({"seconds": sound_length(Path(request["path"]))})


_OPERATIONS: dict[str, Callable[[_Link, Message, list[bytes], int | None], None]] = {
    "timeline": _timeline,
    "check decord": _check_decord,
    "pictures": _pictures,
    "film": _film,
    "sound": _sound,
    "sound length": _sound_length,
}
