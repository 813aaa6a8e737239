"""Recording a step: in which order, and what is left where it breaks. No device is needed for either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from d2m_cli.backbones.recording import WARM_UPS, captured


class Told:
    """What is asked of `torch.cuda`, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()

    class Stream:
        def __init__(self, name: str = "aside") -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            told.log.append(f"{self.name} waits for {other.name}")

    class Graph:
        def reset(self) -> None:
            told.log.append("reset")

    @contextmanager
    def recording(graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        told.log.append(f"record on {stream.name}, {capture_error_mode}")
        yield
        told.log.append("recorded")

    @contextmanager
    def entered(what: object) -> Iterator[None]:
        told.log.append(f"on {what.name if isinstance(what, Stream) else what}")
        yield

    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("current"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    return told


BEFORE = ["on cuda:1", "aside waits for current", "on aside", *["step"] * WARM_UPS, "current waits for aside"]


def test_a_step_is_made_before_it_is_recorded_on_the_same_stream_of_its_device(cuda: Told) -> None:
    captured(lambda: cuda.log.append("step"), torch.device("cuda:1"))
    assert cuda.log == [*BEFORE, "record on aside, thread_local", "step", "recorded"]


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, KeyboardInterrupt])
def test_what_was_half_recorded_is_thrown_away(cuda: Told, error: type[BaseException]) -> None:
    def step() -> None:
        cuda.log.append("step")
        if cuda.log.count("step") > WARM_UPS:
            raise error

    with pytest.raises(error):
        captured(step, torch.device("cuda:1"))
    assert cuda.log == [*BEFORE, "record on aside, thread_local", "step", "reset"]
