from __future__ import annotations

import os

from d2m_cli.ground.printable import printable


def test_what_steers_a_terminal_is_escaped() -> None:
    assert printable("a\nb\rc\td\x1b[31me\x07\x7f\x9b") == "a\\nb\\rc\\td\\x1b[31me\\x07\\x7f\\x9b"
    assert printable("gpm\u202e4pm.mov \u2066x\u2069\u200f") == "gpm\\u202e4pm.mov \\u2066x\\u2069\\u200f"
    assert printable("one\u2028two\u2029\x85\ufeff") == "one\\u2028two\\u2029\\x85\\ufeff"
    assert printable(os.fsdecode(b"\xff.mp4")) == "\\udcff.mp4"


def test_all_else_stays() -> None:
    family = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
    for text in ("né ☃.mp4", r"C:\new\table", "'\"%s[red]", family, "می\u200cخواهم", "\U0001f483"):
        assert printable(text) == text
    assert printable(ValueError("a\nb")) == "a\\nb"
