from __future__ import annotations

from pathlib import Path

import pytest

from d2m_cli.errors import UsageError
from d2m_cli.generation.artefacts import is_take, parse_formats, suffixes, take_number


def test_lists_of_formats() -> None:
    assert parse_formats(["wav,flac", " .MP4 ", "wav"]) == ("wav", "flac", "mp4")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["wav,ogg"], "format must be of wav, flac, mp3, m4a, mp4, mkv, not 'ogg'"),
        (["json"], "not 'json'"),
        ([","], "format names no format"),
        ([], "format names no format"),
    ],
)
def test_what_is_no_format_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_formats(texts)


def test_the_record_is_always_written() -> None:
    assert suffixes(("mkv", "flac"), 2) == (".mkv", ".flac", ".take-1.wav", ".take-2.wav", ".json")
    assert suffixes(("wav",)) == (".wav", ".json")


def test_takes_are_told_by_their_suffixes() -> None:
    assert [take_number(one) for one in (".take-12.wav", ".wav", ".take-x.wav", "a.take-1.wav")] == [
        12,
        None,
        None,
        None,
    ]
    assert is_take(Path("out/my.clip.take-3.wav"))
    assert not is_take(Path("out/take-3.wav"))
