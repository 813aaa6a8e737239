"""Rhythms that were read before, beside the poses that they were read off."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.errors import InputError
from d2m_cli.ground.digests import code_digest, settings_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.npz import UNREADABLE, open_npz
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.hub.known import known_sha256
from d2m_cli.media.passage import WHOLE, Passage
from d2m_cli.pose.cache import PoseCache
from d2m_cli.rhythm.beat_model import SHIPPED
from d2m_cli.rhythm.extract import RhythmOptions
from d2m_cli.rhythm.sequence import BeatMap, Rhythm, Tempo

SUFFIX = ".rhythm.npz"
FORMAT = 1
"""Of what is kept: to be raised when a file of the cache is to be read otherwise."""


class DanceCache(PoseCache):
    """Poses of any number of videos, estimated with the same options, and rhythms of them.

    Rhythms come back to the last bit, other than from the files of `d2m_cli.rhythm.io`, which are for people to read.
    """

    @cached_property
    def _read_by(self) -> dict[str, Any]:
        model = known_sha256(weights_dir() / SHIPPED)
        return {"beats": model, "rhythm_format": FORMAT, "rhythm_code": code_digest("rhythm")}

    def rhythm_key(self, content: str, options: RhythmOptions, passage: Passage = WHOLE) -> str:
        """Name of the rhythm of one video; see `key`."""
        return settings_digest("rhythm", {"poses": self.key(content, passage), **asdict(options), **self._read_by})

    def rhythm(
        self, content: str, options: RhythmOptions, extract: Callable[[], Rhythm], passage: Passage = WHOLE
    ) -> Rhythm:
        """Rhythm of one video: the one that is kept, else what `extract` gives, which is kept from now on.

        Parameters
        ----------
        content
            `content_digest` of the video, whose poses `poses` gave.
        options
            How its rhythm is read.
        extract
            Reads it off those poses.
        passage
            As in `key`.
        """
        if self.files is None:
            return extract()
        key = self.rhythm_key(content, options, passage)
        known = self.files.read(key, SUFFIX, _load)
        if known is not None:
            return known
        rhythm = extract()
        # Only of poses that are kept themselves is it known that they are those of this content.
        if self.has_poses(content, passage):
            self.files.keep(key, SUFFIX, partial(_save, rhythm=rhythm))
        return rhythm


def _save(path: Path, rhythm: Rhythm) -> None:
    mapped = rhythm.mapped
    arrays: dict[str, NDArray[Any]] = {"envelope": rhythm.envelope, "peaks": rhythm.peaks}
    about = {
        "rate": rhythm.rate,
        "duration": rhythm.duration,
        "mode": rhythm.mode,
        "tempo": None if rhythm.tempo is None else asdict(rhythm.tempo),
        "mapped": None if mapped is None else {"bpm": mapped.bpm, "confidence": mapped.confidence},
    }
    # Numbers of JSON are written with all digits that tell them from their neighbours.
    arrays["about"] = np.array(json.dumps(about, allow_nan=False))
    if mapped is not None:
        arrays |= {"beats": mapped.beats, "beat_tempo": mapped.tempo}
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> Rhythm:
    try:
        return _rhythm_in(path)
    except (*UNREADABLE, AttributeError) as error:
        raise InputError(f"{path} ({str(error)[:160]})") from error


def _rhythm_in(path: Path) -> Rhythm:
    with open_npz(path) as file:
        about = json.loads(str(file.read("about")))
        tempo, mapped = about["tempo"], about["mapped"]
        return Rhythm(
            file.read("envelope"),
            about["rate"],
            file.read("peaks"),
            about["duration"],
            None if tempo is None else Tempo(**tempo),
            about["mode"],
            None if mapped is None else BeatMap(file.read("beats"), tempo=file.read("beat_tempo"), **mapped),
        )
