from __future__ import annotations

import pytest

from d2m_cli.report.weights_table import size_in_words


@pytest.mark.parametrize(
    ("size", "rounded", "words"),
    [
        (7_000, False, "7.0 kB"),
        (45_231, False, "45.2 kB"),
        (100_000, False, "0.1 MB"),
        (19_440_000, False, "19.4 MB"),
        (63_000_000, True, "63 MB"),
        (2_360_000_000, True, "2.4 GB"),
    ],
)
def test_sizes_are_told_in_the_unit_that_fits(size: int, rounded: bool, words: str) -> None:
    assert size_in_words(size, rounded=rounded) == words
