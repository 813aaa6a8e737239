"""The ten genres of AIST++."""

from __future__ import annotations

from difflib import get_close_matches

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


GENRE_NAMES: dict[str, str] = {
    "BR": "break",
    "HO": "house",
    "JB": "ballet-jazz",
    "JS": "street-jazz",
    "KR": "krump",
    "LH": "la-hip-hop",
    "LO": "lock",
    "MH": "middle-hip-hop",
    "PO": "pop",
    "WA": "waack",
}
"""Code to the name that a user gives it by."""

COMMON_NAMES: dict[str, tuple[str, ...]] = {
    "BR": (
        "breaking", "breakin", "breakdance", "breaker", "breakbeat", "b-boy", "b-boying", "b-girl", "b-girling",
    ),
    "HO": ("Chicago house",),
    "JB": ("jazz ballet", "ballet", "contemporary jazz", "lyrical jazz"),
    "JS": ("jazz funk", "commercial jazz"),
    "KR": ("krumping", "krumpin"),
    "LH": ("LA style", "LA style hip-hop"),
    "LO": ("locking", "lockin", "campbellock", "campbellocking"),
    "MH": ("hip-hop", "middle school hip-hop", "new style", "new style hip-hop"),
    "PO": ("popping", "poppin", "boogaloo", "electric boogaloo"),
    "WA": ("waacking", "waackin", "wacking", "whacking", "punking"),
}  # fmt: skip
"""Code to what else dancers call it."""

AMBIGUOUS: dict[str, tuple[str, ...]] = {"jazz": ("JS", "JB")}
"""Names of two genres whose music differs so much that neither may be taken for the other."""

NEAR = 0.75
"""How alike a name must be to one that is known, of 1, to be taken for a slip of it."""


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_CODES = {
    _key(name): code
    for code in GENRE_CODES
    for name in (code, GENRE_CODES[code], GENRE_NAMES[code], *COMMON_NAMES[code])
}


def _keys(name: str) -> tuple[str, str]:
    """What a name is looked for as: whole, and without a "dance" behind it."""
    key = _key(name)
    return key, key.removesuffix("dancing").removesuffix("dance")


def _code(name: str) -> str | None:
    return next((_CODES[key] for key in _keys(name) if key in _CODES), None)


def genre_code(name: str) -> str:
    """Two-letter code of a genre given by code, name or common name, whatever its case, spaces and hyphens.

    "hip-hop" alone is middle-hip-hop, the style that goes by no other name; a "dance" or "dancing" behind a name
    changes nothing.

    Raises
    ------
    UsageError
        For a name that is none of the ten, or of two; the text names the nearest, or lists them.
    """
    code = _code(name)
    if code is not None:
        return code
    known = ", ".join(f"{word} ({code})" for code, word in GENRE_NAMES.items())
    raise UsageError(f"unknown genre {name!r}{genre_hint(name) or f'. Choose one of: {known}'}")


def genre_hint(name: str) -> str:
    """What to say behind a name that is no genre's: those it may stand for, or the nearest; "" where none is near."""
    keys = _keys(name)
    for code in (AMBIGUOUS[key] for key in keys if key in AMBIGUOUS):
        return f": it may be {' or '.join(f'{GENRE_NAMES[one]} ({one})' for one in code)}; say which"
    near = get_close_matches(keys[0], _CODES, n=1, cutoff=NEAR)
    return f": did you mean {GENRE_NAMES[_CODES[near[0]]]!r}?" if near else ""


def genre_remark(name: str) -> str | None:
    """What to tell of a name that is taken for one genre and may have been meant for another; else None."""
    if "hiphop" not in _keys(name):
        return None
    return f"{name} is taken for {GENRE_NAMES['MH']} (MH); the LA style is {GENRE_NAMES['LH']} (LH)"
