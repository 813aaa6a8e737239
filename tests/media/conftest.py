"""Made videos, each written once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.media.made_video import MadeVideo
from tests.media.made_videos import make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MadeVideo]:
    """A function that gives the made video of a kind."""
    folder = tmp_path_factory.mktemp("made")
    return cache(lambda kind: make(kind, folder))
