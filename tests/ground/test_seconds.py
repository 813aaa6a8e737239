from __future__ import annotations

import pytest

from d2m_cli.ground.seconds import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("12.5", 12.5), (" 90 ", 90.0), ("1:30", 90.0), ("0:05.25", 5.25), ("1:02:03.5", 3723.5), (".5", 0.5)],
)
def test_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "1:60", "1:60:00", "1:2:3:4", "nan", "1e3", "1_0", "1,5", "1.5:30", ":30", "."]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time in seconds"):
        seconds_of(text)
