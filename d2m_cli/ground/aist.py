"""AIST: the names of its sequences, and the official splits of AIST++ (Li et al. 2021).

A sequence such as "gLO_sBM_cAll_d13_mLO2_ch02" is genre, situation (basic or advanced dance), cameras, dancer, music
and choreography; "c01" to "c09" in place of "cAll" are its videos.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from d2m_cli.ground.genres import GENRE_CODES

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

HELD_OUT = frozenset({"mBR0", "mPO1", "mLO2", "mMH3", "mLH4", "mHO5", "mWA0", "mKR2", "mJS3", "mJB5"})
"""The song of each genre that training does not hear."""

_NAME = re.compile(r"g([A-Z]{2})_(s[A-Z]{2})_c(All|\d{2})((?:_d\d{2})+)_(m[A-Z]{2}\d)_(ch\d{2})")
_CLIP = re.compile(_NAME.pattern + r"(?![^\W_])")


@dataclass(frozen=True)
class AistName:
    """The parts of a name of AIST.

    Attributes
    ----------
    genre
        Two-letter code.
    situation
        "sBM" (basic), "sFM" (advanced) and others.
    camera
        "c01" to "c09", or "cAll" for a sequence.
    dancers
        Such as "d13"; several are joined by "_".
    song, choreography
        Such as "mLO2" and "ch02".
    """

    genre: str
    situation: str
    camera: str
    dancers: str
    song: str
    choreography: str

    def seen_by(self, camera: str) -> str:
        """Name of the same dance as another camera saw it, or of the sequence ("cAll")."""
        return f"g{self.genre}_{self.situation}_{camera}_{self.dancers}_{self.song}_{self.choreography}"


def parse_name(name: str) -> AistName | None:
    """The parts of a name without suffix, or None for a name that is not of AIST."""
    return _parts(_NAME.fullmatch(name))


def parse_clip_name(name: str) -> AistName | None:
    """The parts of a name that may go on after the choreography, as clips cut from a dance are called.

    "gLO_sBM_cAll_d13_mLO2_ch02_1", "..._ch02_slice0" and "..._ch02 (2)" are all of "gLO_sBM_cAll_d13_mLO2_ch02".

    Returns
    -------
    None for a name that is not of AIST, and where a letter or digit follows at once: "ch021" is another choreography.
    """
    return _parts(_CLIP.match(name))


def _parts(match: re.Match[str] | None) -> AistName | None:
    if match is None or match[1] not in GENRE_CODES:
        return None
    return AistName(match[1], match[2], f"c{match[3]}", match[4][1:], match[5], match[6])


def official_split(name: AistName) -> Split | None:
    """The split of music and choreography, by the rule that made ``crossmodal_{train,val,test}.txt``.

    Basic dances 02 of the held-out songs are the test set, dances 01 the validation set; training has neither those
    songs nor those choreographies, so many sequences are in no split. Agrees with ``processing/run_splitting.py`` of
    google/aistplusplus_api.
    """
    first_two = name.situation == "sBM" and name.choreography in ("ch01", "ch02")
    if name.song in HELD_OUT:
        if not first_two:
            return None
        return "test" if name.choreography == "ch02" else "validation"
    return None if first_two else "train"
