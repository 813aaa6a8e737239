"""Opening media files: local ones alone, of formats that hold their own content; and what is wrong with others."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path
from typing import Any

from d2m_cli.errors import InputError, VideoError

FORMATS = (
    "3g2", "3gp", "aac", "ac3", "aiff", "amr", "ape", "apng", "asf", "au", "av1", "avi", "caf", "cavsvideo", "dirac",
    "dnxhd", "dts", "dv", "eac3", "flac", "flv", "gif", "gxf", "h261", "h263", "h264", "hevc", "ivf", "live_flv", "lxf",
    "m4v", "matroska", "mjpeg", "mov", "mp3", "mpeg", "mpegts", "mpegvideo", "mxf", "nsv", "nut", "nuv", "obu", "ogg",
    "rm", "roq", "smk", "tta", "vc1", "vvc", "w64", "wav", "wtv", "wv", "yuv4mpegpipe",
)  # fmt: skip
"""Formats that are read. Those that name other files (playlists, concat, dash, sdp) and single pictures are not."""

_PICTURES = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"), (b"8BPS", "Photoshop"),
)  # fmt: skip
_LISTS = (
    (b"ffconcat", "FFmpeg"),
    (b"#EXTM3U", "HLS"),
    (b"v=0", "SDP"),
    (b"[playlist]", "PLS"),
    (b"[Reference]", "ASX"),
)


def open_media(path: Path) -> Any:
    """Open a local media file with PyAV.

    Raises
    ------
    av.error.FFmpegError, ValueError
        As PyAV does; see `explained`.
    """
    import av

    # An absolute path can't be mistaken for a protocol ("a:b.mp4") or an option.
    return av.open(
        os.path.abspath(path),
        options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"},
        metadata_errors="replace",
    )


def films_of(container: Any) -> list[Any]:
    """Picture tracks of an open container that are more than covers, thumbnails and stills."""
    from av.stream import Disposition

    hidden = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    return [one for one in container.streams.video if not one.disposition & hidden and one.codec_context is not None]


def check_file(path: Path, kind: type[InputError] = VideoError) -> None:
    """Raise an error of `kind` where a path is no file with content that may be read."""
    try:
        if not path.is_file():
            cause = "is not a file that can be read to its end" if path.exists() else "no such file"
            raise kind(f"{path}: {cause}")
        if path.stat().st_size == 0:
            raise kind(f"{path}: the file is empty; copy or download it again")
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise kind(f"{path}: may not be read; check its permissions") from error
    except OSError as error:
        raise kind(f"{path}: can't be read ({error.strerror or error})") from error


def explained(path: Path, error: Exception) -> VideoError:
    """The `VideoError` that says why FFmpeg can't read a file, as far as the file itself shows it."""
    return VideoError(f"{path}: {_cause(path) or f'is not a video that can be decoded ({_meant(error)})'}")


def _meant(error: Exception) -> str:
    """FFmpeg's reason; where it borrows a number of the system's, those words ("Operation not permitted") mislead."""
    telling = ("InvalidDataError", "EOFError", "DecoderNotFoundError", "PatchWelcomeError")
    return first_line(error) if type(error).__name__ in telling else "its tracks can't be made out"


def refuse_want_of_memory(error: Exception) -> None:
    """Raise MemoryError where FFmpeg lacks memory, or room for a thread: that is no fault of the file's content."""
    if getattr(error, "errno", None) in (errno.ENOMEM, errno.EAGAIN):
        raise MemoryError from error


def first_line(error: Exception) -> str:
    """The beginning of an error's text; FFmpeg's own words without the file's name, which stands before them."""
    text = str(getattr(error, "strerror", None) or error).strip()
    # decord puts the time and the place in its own source in front.
    text = re.sub(r"^(\[[\d:]+\] \S+ )+", "", text)
    return text.splitlines()[0][:160] if text else type(error).__name__


def _cause(path: Path) -> str | None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        return f"can't be read ({error.strerror or error})"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, name in _PICTURES:
        if head.startswith(mark):
            return f"is a picture ({name}), not a video"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "is a picture (WebP), not a video"
    for mark, name in _LISTS:
        if text.lower().startswith(mark.lower()):
            return f"is a list that refers to other files ({name}), not a video; name those files themselves"
    if b"<MPD" in head or b"<SmoothStreamingMedia" in head or b"<asx" in head.lower():
        return "is a list that refers to other files, not a video; name those files themselves"
    if head[4:8] == b"ftyp":
        return _iso_cause(path, size)
    return None


def _iso_cause(path: Path, size: int) -> str | None:
    """What the boxes of an ISO file (.mp4, .mov, .3gp) say; None where they are all there."""
    names: list[bytes] = []
    at = 0
    with path.open("rb") as file:
        while at + 8 <= size and len(names) < 10_000:
            file.seek(at)
            length, name = struct.unpack(">I4s", file.read(8))
            if length == 1:
                wide = file.read(8)
                length = struct.unpack(">Q", wide)[0] if len(wide) == 8 else size + 1
            length = size - at if length == 0 else length
            if length < 8:
                break
            names.append(name)
            if at + length > size:
                whole = at + length
                return f"is truncated: {size} of at least {whole} bytes are there; copy or download it again"
            at += length
    if b"moov" not in names:
        return "has no index (moov): it was not written to its end; record or download it again"
    return None
