from __future__ import annotations

from d2m_cli.ground.words import count, listed


def test_one_is_no_plural() -> None:
    assert [count(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [count(number, "dance is", "dances are") for number in (1, 2)] == ["1 dance is", "2 dances are"]


def test_a_list() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
