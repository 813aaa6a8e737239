from __future__ import annotations

import gc

import pytest

from d2m_cli.ground.uncollected import uncollected


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_within_and_what_is_there_is_left_alone_from_then_on() -> None:
    frozen = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)
    assert not any(one is made for one in gc.get_objects())


def test_a_collector_that_was_off_stays_off_and_an_error_goes_through() -> None:
    gc.disable()
    with pytest.raises(ValueError, match="within"), uncollected():
        raise ValueError("within")
    assert not gc.isenabled()
