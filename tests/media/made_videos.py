"""Videos whose every picture carries its own number, in the containers, codecs and kinds of times that people have.

`KINDS` names them all; `make` writes one.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

from tests.media.made_video import MadeVideo, describe
from tests.media.writing import Sound, Track, write

Maker = Callable[[Path, str], MadeVideo]

COUNT = 50
SLOTS = tuple(range(COUNT))
CLICK_EVERY = 10


def clicks(track: Track) -> tuple[Fraction, ...]:
    """Times of every tenth picture but the first, on the clock of the file."""
    return tuple(track.stamps[CLICK_EVERY::CLICK_EVERY])


def sounding(track: Track, codec: str, *, told: bool, start: Fraction | None = None) -> Sound:
    """Sound that clicks with every tenth picture and begins and ends with the picture, or begins at `start`."""
    start = track.stamps[0] if start is None else start
    rate = 48000 if codec == "libopus" else 44100
    return Sound(clicks(track), track.end, start, codec, rate, told)


def _plain(suffix: str, track: Track, sound: str | None, told: bool, folder: Path, kind: str) -> MadeVideo:
    heard = sounding(track, sound, told=told) if sound else None
    path = write(folder / f"{kind}.{suffix}", track, *([heard] if heard else []))
    return describe(path, kind, track, heard)


def _plain_kinds() -> dict[str, Maker]:
    """Containers and codecs at 25 pictures a second, half of them with sound."""
    # suffix, encoder, sound, whether the container tells the sound's delay, what differs
    rows: list[tuple[str, str, str | None, bool, dict[str, object]]] = [
        ("mp4", "libx264", "aac", True, {}),
        ("mp4", "libx265", None, True, {}),
        ("mp4", "mpeg4", "aac", True, {}),
        ("mp4", "libsvtav1", None, True, {}),
        ("mp4", "libvpx-vp9", None, True, {}),
        ("mov", "libx264", "pcm_s16le", True, {}),
        ("mov", "mjpeg", None, True, {}),
        ("mov", "prores_ks", "pcm_s16le", True, {}),
        ("mkv", "libx264", "aac", True, {}),
        ("mkv", "libx265", "pcm_s16le", True, {}),
        ("mkv", "mpeg2video", None, True, {}),
        ("mkv", "ffv1", None, True, {}),
        ("webm", "libvpx", None, True, {}),
        ("webm", "libvpx-vp9", "libopus", True, {}),
        ("webm", "libsvtav1", None, True, {}),
        ("avi", "mpeg4", "pcm_s16le", False, {}),
        ("avi", "mjpeg", None, False, {}),
        ("avi", "libx264", None, False, {}),
        ("ts", "libx264", "aac", False, {}),
        ("ts", "libx265", None, False, {}),
        ("ts", "mpeg2video", "mp2", False, {}),
        ("m2ts", "libx264", "ac3", False, {}),
        ("mpg", "mpeg2video", "mp2", False, {}),
        ("mpg", "mpeg1video", None, False, {}),
        ("flv", "libx264", "aac", False, {}),
        ("flv", "flv", None, False, {}),
        ("wmv", "wmv2", "wmav2", False, {}),
        ("asf", "mpeg4", "mp2", False, {}),
        ("3gp", "libx264", "aac", True, {}),
        ("3gp", "h263", None, True, {"size": (176, 144)}),
        ("gif", "gif", None, False, {}),
    ]
    return {
        f"{suffix}-{codec.removeprefix('lib')}": partial(
            _plain, suffix, Track(SLOTS, codec=codec, **different), sound, told
        )
        for suffix, codec, sound, told, different in rows
    }


KINDS: dict[str, Maker] = _plain_kinds()


def make(kind: str, folder: Path) -> MadeVideo:
    """Write a video of a kind of `KINDS` into a folder."""
    return KINDS[kind](folder, kind)
