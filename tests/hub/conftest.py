"""A home and a cache of their own for every test, and no way out but to the loopback server."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2m_cli.ground.progress import Progress
from d2m_cli.hub.pull import Tools
from tests.hub.loopback import Loopback, serve


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def _no_export(config: str, checkpoint: Path, out: Path) -> str:
    raise AssertionError("nothing here is to be exported")


TOOLS = Tools({}, _no_export)
"""For weights that have a checksum and are loaded as they come."""


def hearing_interrupts() -> None:
    """For ``preexec_fn``: a shell lets what runs in its background ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``$D2M_HOME``, with an empty cache of the hub beside it."""
    from huggingface_hub import close_session, constants

    monkeypatch.setenv("D2M_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()
    return tmp_path / "home"


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A loopback server that is also the hub; nothing waits between two tries."""
    from huggingface_hub import constants

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with serve() as loopback:
        monkeypatch.setattr(constants, "ENDPOINT", loopback.url)
        template = loopback.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield loopback
