"""How errors name options."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from d2m_cli.ground.options import option, tell_flags


@pytest.fixture(autouse=True)
def in_python_words() -> Iterator[None]:
    tell_flags(False)
    yield
    tell_flags(False)


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
