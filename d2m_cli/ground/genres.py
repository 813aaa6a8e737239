"""The ten genres of AIST++."""

from __future__ import annotations

from d2m_cli.errors import UsageError

GENRE_CODES: dict[str, str] = {
    "BR": "break",
    "HO": "house",
    "JB": "ballet jazz",
    "JS": "street jazz",
    "KR": "krump",
    "LH": "la style hip-hop",
    "LO": "lock",
    "MH": "middle hip-hop",
    "PO": "pop",
    "WA": "waack",
}
"""Two-letter code, as in AIST++ file names ("gLO_..."), to the name in words."""

GENRE_WORDS: dict[str, str] = {
    "BR": "breakbeat funk, syncopated drum breaks, horn stabs, scratching",
    "HO": "house, four-on-the-floor kick, deep bass, piano chords",
    "JB": "contemporary ballet jazz, piano, strings, brushed drums",
    "JS": "jazz funk, groovy bass, electric piano, brass",
    "KR": "aggressive hip hop, heavy 808 bass, hard claps, dark brass",
    "LH": "west coast hip hop, punchy drums, synth lead, deep bass",
    "LO": "funk, tight drums, slap bass",
    "MH": "boom bap hip hop, dusty drums, jazzy samples, upright bass",
    "PO": "electro funk, drum machine, synth bass, vocoder",
    "WA": "disco, four-on-the-floor kick, octave bass, sweeping strings",
}
"""Code to words that text-to-music models know: the music that is danced to, then what plays it."""


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_ALIASES = {
    **{_key(code): code for code in GENRE_CODES},
    **{_key(name): code for code, name in GENRE_CODES.items()},
    "breaking": "BR", "breakdance": "BR", "lahiphop": "LH", "laststylehiphop": "LH", "locking": "LO",
    "popping": "PO", "waacking": "WA", "krumping": "KR", "hiphop": "MH",
}  # fmt: skip


def genre_code(name: str) -> str:
    """Two-letter code of a genre given by code or name, whatever its case, spaces and hyphens.

    Raises
    ------
    UsageError
        For a name that is none of the ten; the text lists them.
    """
    code = _ALIASES.get(_key(name))
    if code is None:
        known = ", ".join(f"{word} ({code})" for code, word in GENRE_CODES.items())
        raise UsageError(f"unknown genre {name!r}. Choose one of: {known}")
    return code
