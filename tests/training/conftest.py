"""Errors name options as Python writes them, whatever ran before."""

from __future__ import annotations

import pytest

from d2m_cli.ground.options import tell_flags


@pytest.fixture(autouse=True)
def options_of_python() -> None:
    """The command line, which some tests run in this process, has errors tell flags from then on."""
    tell_flags(False)
