from __future__ import annotations

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.ground.genres import COMMON_NAMES, GENRE_CODES, GENRE_NAMES, genre_code, genre_hint, genre_remark


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("popping", "PO"), ("Locking", "LO"), ("waacking", "WA"), ("whacking", "WA"), ("breaking", "BR"),
        ("breakdance", "BR"), ("break dancing", "BR"), ("B-Boy", "BR"), ("krumping", "KR"), ("house dance", "HO"),
        ("la style", "LH"), ("LA-style hiphop", "LH"), ("la_hip_hop", "LH"), ("hip hop", "MH"), ("hip hop dance", "MH"),
        ("middle hiphop", "MH"), ("jazz ballet", "JB"), ("Street Jazz dance", "JS"), ("wa", "WA"),
    ],
)  # fmt: skip
def test_dancers_names(name: str, code: str) -> None:
    assert genre_code(name) == code


def test_no_name_stands_for_two_genres() -> None:
    names = [name for code in GENRE_CODES for name in (code, GENRE_NAMES[code], *COMMON_NAMES[code])]
    bare = ["".join(letter for letter in name.lower() if letter.isalnum()) for name in names]
    assert len(set(bare)) == len(bare)
    assert list(GENRE_CODES) == list(GENRE_NAMES) == list(COMMON_NAMES)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wack", "unknown genre 'wack': did you mean 'waack'?"),
        ("poping", "unknown genre 'poping': did you mean 'pop'?"),
        ("midle hip hop", "unknown genre 'midle hip hop': did you mean 'middle-hip-hop'?"),
        ("jazz", r"unknown genre 'jazz': it may be street-jazz \(JS\) or ballet-jazz \(JB\); say which"),
        ("jazz dance", r"may be street-jazz \(JS\) or ballet-jazz \(JB\)"),
        ("tango", r"unknown genre 'tango'\. Choose one of: break \(BR\), .*, waack \(WA\)$"),
        ("dance", "Choose one of"),
    ],
)
def test_other_names_are_answered_with_what_may_be_meant(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        genre_code(name)


def test_hints() -> None:
    assert genre_hint("salsa") == ""
    assert genre_hint("krmp") == ": did you mean 'krump'?"


def test_what_hip_hop_is_taken_for_is_told() -> None:
    assert genre_remark("Hip hop") == "Hip hop is taken for middle-hip-hop (MH); the LA style is la-hip-hop (LH)"
    assert genre_remark("middle hip-hop") is genre_remark("lock") is None
