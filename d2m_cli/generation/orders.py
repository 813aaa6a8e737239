"""What is asked of a desk, and what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from d2m_cli.backbones.base import Condition, Draw, FullSampling
from d2m_cli.ground.background import POLL_SECONDS


@dataclass(frozen=True)
class Drawn:
    """One take.

    Attributes
    ----------
    music
        A batch of one.
    rows
        Of the batch that it was drawn in, which is the shape that its bytes hang on.
    """

    music: Draw
    rows: int


@dataclass(eq=False)
class Order:
    """Takes of one window, and what has come of them.

    Its end is told by a queue: that, unlike an event, can be waited for and told by threads that may be interrupted
    between any two steps.
    """

    count: int
    takes: dict[int, Drawn] = field(default_factory=dict)
    ends: SimpleQueue[Exception | None] = field(default_factory=SimpleQueue)
    over: bool = False

    def take(self, number: int, drawn: Drawn) -> None:
        self.takes[number] = drawn
        if len(self.takes) == self.count:
            self.end(None)

    def end(self, error: Exception | None) -> None:
        self.over = True
        self.ends.put(error)

    def wait(self, thread: threading.Thread) -> None:
        """Wait for the end that another thread brings, and raise its error; nobody need go on where this is left."""
        try:
            while True:
                alive = thread.is_alive()
                try:
                    error = self.ends.get(timeout=POLL_SECONDS)
                except Empty:
                    if not alive:
                        raise RuntimeError("the thread that draws music has ended") from None
                else:
                    break
        finally:
            self.over = True
        if error is not None:
            raise error


@dataclass(frozen=True, eq=False)
class Call:
    """Something else that the thread that draws is to do."""

    order: Order
    do: Callable[[], object]

    def __call__(self) -> None:
        if self.order.over:
            return
        try:
            self.do()
        except Exception as error:
            self.order.end(error)
        else:
            self.order.end(None)


@dataclass(frozen=True, eq=False)
class Row:
    """One take that is to be drawn, the `number`-th of its order."""

    order: Order
    number: int
    condition: Condition
    negative: Condition
    seed: int
    context: Draw | None
    sampling: FullSampling
    seconds: float | None
    draft: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """Rows of one kind may share a batch."""
        shapes = _shape(self.condition), _shape(self.negative), _lengths(self.context)
        return self.sampling, self.seconds, self.draft, shapes


def _shape(condition: Condition) -> tuple[object, ...]:
    return tuple(condition.states.shape[1:]), condition.mask is None


def _lengths(context: Draw | None) -> tuple[object, ...]:
    parts = () if context is None else (context.audio, context.codes, context.latents)
    return tuple(None if part is None else tuple(part.shape[1:]) for part in parts)
