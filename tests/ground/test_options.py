"""How errors name options."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from d2m_cli.ground.options import option, tell_flags, tell_variables


@pytest.fixture(autouse=True)
def in_python_words() -> Iterator[None]:
    tell_flags(False)
    yield
    tell_flags(False)
    tell_variables({})


def test_python_reads_keywords() -> None:
    assert option("top_k") == "top_k"
    assert option("rhythm", "words") == "rhythm='words'"
    assert option("overwrite", True) == "overwrite=True"


def test_the_command_line_reads_flags() -> None:
    tell_flags()
    assert option("top_k") == "--top-k"
    assert option("rhythm", "words") == "--rhythm words"
    assert option("overwrite", True) == "--overwrite"
    assert option("embed", False) == "--no-embed"


def test_a_variable_is_named_where_the_value_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    tell_flags()
    values = {"name": "{x}", "candidates": "1", "breaks": "Yes", "mp4": "0"}
    for name, text in values.items():
        monkeypatch.setenv(f"D2M_{name.upper()}", text)
    tell_variables({name: f"D2M_{name.upper()}" for name in values})
    assert option("name") == "--name (from D2M_NAME)"
    assert option("name", "{x}") == "--name {x} (from D2M_NAME)"
    assert option("candidates", 1) == "--candidates 1 (from D2M_CANDIDATES)"
    assert option("breaks", True) == "--breaks (from D2M_BREAKS)"
    assert option("mp4", False) == "--no-mp4 (from D2M_MP4)"
    # These are what to say in its place.
    assert option("name", "{stem}") == "--name {stem}"
    assert (option("breaks", False), option("mp4", True)) == ("--no-breaks", "--mp4")
