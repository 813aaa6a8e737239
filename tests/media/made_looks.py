"""Kinds of pictures: turned, mirrored, interlaced, in other colours and sizes, beside covers and other streams."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from av.stream import Disposition
from PIL import Image

from tests.media.made_times import SLOTS, Maker, plain
from tests.media.made_video import MadeVideo, describe
from tests.media.patching import put_metadata_first, set_orientation
from tests.media.pattern import ORIENTATIONS, SIZE, UPRIGHT, Orientation, draw
from tests.media.writing import Colours, Track, write

_HD_LIMITED, _HD_FULL = Colours(1, 1, 1, 1), Colours(1, 1, 1, 2)
_HDR = Colours(9, 9, 16, 1)


def _turned(suffix: str, orientation: Orientation, folder: Path, kind: str) -> MadeVideo:
    track = Track(SLOTS)
    path = write(folder / f"{kind}.{suffix}", track)
    set_orientation(path, orientation, SIZE)
    return describe(path, kind, track, orientation=orientation)


def _turned_matroska(folder: Path, kind: str) -> MadeVideo:
    """Matroska has an angle for its projection, counted against the clock."""
    track = Track(SLOTS, setup=lambda stream: stream.set_display_rotation(90))
    return describe(write(folder / f"{kind}.mkv", track), kind, track, orientation=Orientation(270))


def _orientations() -> dict[str, Maker]:
    kinds: dict[str, Maker] = {}
    for orientation in ORIENTATIONS:
        if orientation != UPRIGHT:
            name = f"{'mirrored-' if orientation.mirrored else ''}turned-{orientation.turn}"
            kinds[f"mp4-{name}"] = partial(_turned, "mp4", orientation)
    kinds["mov-turned-90"] = partial(_turned, "mov", Orientation(90))
    kinds["mkv-turned-270"] = _turned_matroska
    return kinds


def _colours() -> dict[str, Maker]:
    rows: list[tuple[str, str, str, str | None, Colours | None]] = [
        ("mp4", "full-range", "libx264", "yuvj420p", _HD_FULL),
        ("mkv", "full-range", "libx264", "yuvj420p", _HD_FULL),
        ("mp4", "bt709", "libx264", None, _HD_LIMITED),
        ("mp4", "bt2020-10-bit", "libx265", "yuv420p10le", _HDR),
        ("mkv", "bt2020-10-bit", "libx265", "yuv420p10le", _HDR),
        ("mkv", "ffv1-full-range", "ffv1", "yuv420p", _HD_FULL),
        ("mkv", "ffv1-bt709", "ffv1", "yuv420p", _HD_LIMITED),
        ("mkv", "ffv1-bt2020-10-bit", "ffv1", "yuv420p10le", _HDR),
        ("mp4", "10-bit", "libx264", "yuv420p10le", None),
        ("webm", "10-bit", "libsvtav1", "yuv420p10le", None),
        ("webm", "alpha", "libvpx-vp9", "yuva420p", None),
        ("webm", "alpha-vp8", "libvpx", "yuva420p", None),
        ("mp4", "444", "libx264", "yuv444p", None),
        ("avi", "rgb", "huffyuv", "rgb24", None),
    ]
    return {
        f"{suffix}-{name}": partial(plain, suffix, Track(SLOTS, codec=codec, pix_fmt=pix_fmt, colours=colours), None)
        for suffix, name, codec, pix_fmt, colours in rows
    }


def _sizes() -> dict[str, Maker]:
    rows: list[tuple[str, str, str | None]] = [
        ("mp4", "libx264", "yuv444p"),
        ("mkv", "mpeg4", None),
        ("webm", "libvpx-vp9", None),
        ("avi", "mjpeg", None),
        ("gif", "gif", None),
    ]
    return {
        f"{suffix}-odd-size": partial(plain, suffix, Track(SLOTS, codec=codec, pix_fmt=pix_fmt, size=(161, 127)), None)
        for suffix, codec, pix_fmt in rows
    }


def _interlaced() -> dict[str, Maker]:
    fields = {"flags": "+ildct+ilme"}
    mpeg2 = Track(SLOTS, codec="mpeg2video", options={**fields, "bf": "2", "g": "12"})
    h264 = Track(SLOTS, options={**fields, "bf": "2", "x264-params": "tff=1"}, size=(160, 128))
    return {
        "ts-interlaced": partial(plain, "ts", h264, "aac"),
        "m2ts-interlaced": partial(plain, "m2ts", h264, None),
        "mp4-interlaced": partial(plain, "mp4", h264, None),
        "mkv-interlaced": partial(plain, "mkv", h264, None),
        "ts-interlaced-mpeg2video": partial(plain, "ts", mpeg2, "mp2"),
        "vob-interlaced": partial(plain, "vob", mpeg2, "mp2"),
    }


def _set(disposition: Disposition) -> Callable[[Any], None]:
    def setup(stream: Any) -> None:
        stream.disposition = disposition

    return setup


_COVER = Track((0,), codec="png", pix_fmt="rgb24", size=(80, 80), numbers=(127,), setup=_set(Disposition.attached_pic))


def _covered(suffix: str, first: bool, folder: Path, kind: str) -> MadeVideo:
    """A cover picture, which shows 127, is a video stream too."""
    track = Track(SLOTS)
    path = write(folder / f"{kind}.{suffix}", track, _COVER)
    if first:
        put_metadata_first(path)
    return describe(path, kind, track)


def _attached(folder: Path, kind: str) -> MadeVideo:
    """Matroska keeps its cover as an attached file."""
    track = Track(SLOTS)
    cover = io.BytesIO()
    Image.fromarray(draw(127, (80, 80))).save(cover, "png")
    attachments = [("cover.png", "image/png", cover.getvalue())]
    return describe(write(folder / f"{kind}.mkv", track, attachments=attachments), kind, track)


def _second_default(suffix: str, folder: Path, kind: str) -> MadeVideo:
    """The first stream shows 127 throughout and is not the default."""
    other = Track(SLOTS, size=(80, 64), numbers=(127,) * len(SLOTS), setup=_set(Disposition(0)))
    track = Track(SLOTS, setup=_set(Disposition.default))
    return describe(write(folder / f"{kind}.{suffix}", other, track), kind, track)


def _still_first(folder: Path, kind: str) -> MadeVideo:
    """A track of one still picture comes first, as some phones and editors write it."""
    still = replace(_COVER, codec="mjpeg", pix_fmt="yuvj420p", setup=_set(Disposition(0)))
    track = Track(SLOTS, setup=_set(Disposition.default))
    return describe(write(folder / f"{kind}.mp4", still, track), kind, track)


def _several() -> dict[str, Maker]:
    return {
        "mp4-cover-last": partial(_covered, "mp4", False),
        "mp4-cover-first": partial(_covered, "mp4", True),
        "mkv-cover": _attached,
        "mp4-second-default": partial(_second_default, "mp4"),
        "mov-second-default": partial(_second_default, "mov"),
        "mkv-second-default": partial(_second_default, "mkv"),
        "mp4-still-first": _still_first,
    }


KINDS_OF_LOOKS: dict[str, Maker] = {**_orientations(), **_colours(), **_sizes(), **_interlaced(), **_several()}
