"""Decoders: a tiny video of each kind is written and read, as d2m reads videos."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from d2m_cli.doctor.check import Check, explained, guarded
from d2m_cli.doctor.clips import FRAMES, KINDS, USUAL, WIDTH, Kind, brightness, write_clip
from d2m_cli.doctor.libraries import reinstalled

GROUP = "videos"
NEAR = 12.0
"""Difference of mean values, 0 to 255, that compression may make."""
_CONVERT = "convert such files: ffmpeg -i FILE -c:v libx264 FILE.mp4"


def look() -> Iterator[str | Check]:
    """Read a video of each kind by PyAV, and by decord where d2m trusts it."""
    if importlib.util.find_spec("decord") is None:
        yield Check(GROUP, "decord", "ok", "is not installed; PyAV reads all videos")
    with tempfile.TemporaryDirectory(prefix="d2m-") as folder:
        for kind in KINDS:
            yield kind.name
            remedy = reinstalled("av") if kind is USUAL else _CONVERT
            yield from guarded(GROUP, kind.name, partial(kind_checks, kind, Path(folder)), remedy)


def kind_checks(kind: Kind, folder: Path) -> Iterator[Check]:
    """`kind_check`, once it is asked for."""
    yield kind_check(kind, folder)


def kind_check(kind: Kind, folder: Path) -> Check:
    """Write a video of a kind into a folder, and read it.

    Raises
    ------
    av.error.FFmpegError
        The usual kind can't be written, which d2m itself has to.
    """
    begun = time.monotonic()
    path = folder / f"{kind.codec}{kind.suffix}"
    try:
        write_clip(path, kind)
    # An encoder that is not there, or lacks an option, has its own kind of error in each version of PyAV.
    except Exception as error:
        if kind is USUAL:
            raise
        return _unwritten(kind, explained(error))
    wrong, used = read(path, "pyav")
    if wrong:
        if kind is USUAL:
            return Check(GROUP, kind.name, "bad", f"PyAV {wrong}", reinstalled("av"))
        return Check(GROUP, kind.name, "warn", f"PyAV {wrong}", _CONVERT)
    wrong, used = read(path, "auto")
    if wrong:
        remedy = "python -m pip uninstall -y decord"
        return Check(GROUP, kind.name, "bad" if kind is USUAL else "warn", f"{used} {wrong}", remedy)
    seconds = time.monotonic() - begun
    # Why decord was passed over, without its own words for that.
    why = used.removeprefix("pyav (").removesuffix(")").partition(": ")[0]
    by = "decord and PyAV" if used == "decord" else f"PyAV ({why})"
    return Check(GROUP, kind.name, "ok", f"by {by}", values={"decoder": used, "seconds": round(seconds, 3)})


def read(path: Path, decoder: str) -> tuple[str, str]:
    """Read a tiny video.

    Parameters
    ----------
    path, decoder
        As for `VideoReader`.

    Returns
    -------
    What is wrong with what came, or ""; and the decoder that was used.
    """
    from d2m_cli.errors import VideoError
    from d2m_cli.media.video import VideoReader

    try:
        reader = VideoReader(path, decoder=decoder)
        frames = np.concatenate([chunk.frames for chunk in reader])
    except VideoError as error:
        return f"can't read it: {explained(error).replace(str(path), path.name)}", decoder
    if len(frames) != FRAMES:
        return f"gives {len(frames)} of {FRAMES} pictures", reader.decoder
    # Away from the edge in the middle, which compression blurs.
    dark, bright = (
        frames[:, :, at : at + WIDTH // 4].mean(axis=(1, 2, 3), dtype=np.float64) for at in (0, 3 * WIDTH // 4)
    )
    wanted = np.array([brightness(number) for number in range(FRAMES)], np.float64)
    off = max(float(dark.max()), float(np.abs(bright - wanted).max()))
    return ("" if off < NEAR else f"gives other pictures, {off:.0f} of 255 off"), reader.decoder


def _unwritten(kind: Kind, why: str) -> Check:
    """What can be said of a kind that FFmpeg here can't write."""
    import av

    values = {"encoder": kind.encoder, "error": why}
    try:
        av.codec.Codec(kind.codec, "r")
    except ValueError:
        return Check(GROUP, kind.name, "warn", "FFmpeg here has no decoder for it", _CONVERT, values)
    return Check(GROUP, kind.name, "ok", "a decoder is there; not tried, for want of an encoder", values=values)
