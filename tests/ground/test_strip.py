from __future__ import annotations

import numpy as np
import pytest

from d2m_cli.ground.strip import Strip


def test_a_strip_holds_what_was_laid_last_and_silence_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.ground.strip.HELD", 16)
    strip = Strip(2)
    strip.lay(1, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    strip.lay(3, np.array([[7.0, 8.0], [9.0, 10.0]]))
    out = np.full((2, 7), 99.0, np.float32)
    strip.take(out)
    np.testing.assert_array_equal(out, [[0, 1, 2, 7, 8, 0, 0], [0, 4, 5, 9, 10, 0, 0]])


@pytest.mark.parametrize("held", [16, 1 << 24])
def test_passages_of_a_strip_are_those_of_an_array(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr("d2m_cli.ground.strip.HELD", held)
    monkeypatch.setattr("d2m_cli.ground.strip.BLOCK", 7)
    sound = np.random.default_rng(0).normal(0.0, 0.1, (2, 100)).astype(np.float32)
    strip = Strip(2)
    for first in (60, 0, 30):
        strip.lay(first, sound[:, first : first + 40])
    assert strip.shape == (2, 100)
    for first, last in ((0, 100), (3, 9), (50, 51), (90, 200), (7, 7), (9, 3)):
        np.testing.assert_array_equal(strip[:, first:last], sound[:, first:last])
    with pytest.raises(TypeError):
        strip[:1, :]
    with pytest.raises(TypeError):
        strip[:, ::2]
