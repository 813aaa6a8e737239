"""Videos whose every picture carries its own number, in the containers, codecs and kinds of times that people have.

`KINDS` names them all, `each_kind` gives tests those of them that are slow as such; `make` writes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.media.made_looks import KINDS_OF_LOOKS
from tests.media.made_times import KINDS_OF_TIMES, SLOTS, Maker, plain
from tests.media.made_video import MadeVideo
from tests.media.writing import Track


def _plain_kinds() -> dict[str, Maker]:
    """Containers and codecs at 25 pictures a second, half of them with sound."""
    # suffix, encoder, sound, what differs
    rows: list[tuple[str, str, str | None, dict[str, Any]]] = [
        ("mp4", "libx264", "aac", {}),
        ("mp4", "libx265", None, {}),
        ("mp4", "mpeg4", "aac", {}),
        ("mp4", "libsvtav1", None, {}),
        ("mp4", "libvpx-vp9", None, {}),
        ("mov", "libx264", "pcm_s16le", {}),
        ("mov", "mjpeg", None, {}),
        ("mov", "prores_ks", "pcm_s16le", {}),
        ("mkv", "libx264", "aac", {}),
        ("mkv", "libx265", "pcm_s16le", {}),
        ("mkv", "mpeg2video", None, {}),
        ("mkv", "ffv1", None, {}),
        ("webm", "libvpx", None, {}),
        ("webm", "libvpx-vp9", "libopus", {}),
        ("webm", "libsvtav1", None, {}),
        ("avi", "mpeg4", "pcm_s16le", {}),
        ("avi", "mjpeg", None, {}),
        ("avi", "libx264", None, {}),
        ("ts", "libx264", "aac", {}),
        ("ts", "libx265", None, {}),
        ("ts", "mpeg2video", "mp2", {}),
        ("m2ts", "libx264", "ac3", {}),
        ("mpg", "mpeg2video", "mp2", {"options": {"g": "60"}}),
        ("mpg", "mpeg1video", None, {"options": {"g": "60"}}),
        ("vob", "mpeg2video", "mp2", {}),
        ("flv", "libx264", "aac", {}),
        ("flv", "flv", None, {}),
        ("wmv", "wmv2", "wmav2", {}),
        ("asf", "mpeg4", "mp2", {}),
        ("3gp", "libx264", "aac", {}),
        ("3gp", "h263", None, {"size": (176, 144)}),
        ("gif", "gif", None, {}),
    ]
    return {
        f"{suffix}-{codec.removeprefix('lib')}": partial(plain, suffix, Track(SLOTS, codec=codec, **different), sound)
        for suffix, codec, sound, different in rows
    }


KINDS: dict[str, Maker] = {**_plain_kinds(), **KINDS_OF_TIMES, **KINDS_OF_LOOKS}


def each_kind(kinds: Iterable[str] = KINDS) -> list[ParameterSet]:
    """A test's parameters: .mp4, .mov (as cameras write) and one of each other container are quick, the rest slow."""
    given: list[ParameterSet] = []
    containers = set()
    for name in sorted(kinds):
        container = name.partition("-")[0]
        quick = container in ("mp4", "mov") or container not in containers
        given.append(pytest.param(name, marks=() if quick else pytest.mark.slow))
        containers.add(container)
    return given


def make(kind: str, folder: Path) -> MadeVideo:
    """Write a video of a kind of `KINDS` into a folder."""
    return KINDS[kind](folder, kind)
