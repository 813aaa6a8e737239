"""Where windows are drawn: what several threads ask of one backbone, in batches of a known shape.

The bytes of a take hang on its seed, its condition and the shape of its batch, not on what else is in the batch. On a
GPU all batches have one shape, whoever shares them; on a CPU, where a row that nobody needs costs as much as any other,
a batch holds takes of one window: all of them, or as many as one core makes at once.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from d2m_cli.backbones.base import Condition, Draw, FullSampling, writes_pieces
from d2m_cli.backbones.text_padding import in_blocks
from d2m_cli.ground.background import POLL_SECONDS
from d2m_cli.ground.interrupts import interrupt
from d2m_cli.ground.one_core import on_one_core_each
from d2m_cli.media.shortage import is_shortage

if TYPE_CHECKING:
    from torch import Tensor

    from d2m_cli.backbones.base import Backbone

T = TypeVar("T")

TOGETHER = 4
"""Takes of a window that a backbone makes at once on a CPU."""
ON_ONE_CORE = 2
"""The same of a small one, which makes several such batches side by side, each on a core of its own."""
ROWS_ON_GPU = 8
"""Takes in each batch on a GPU."""
THREADS = "d2m-drawing"
"""Their name."""
AFTER_READING_SECONDS = 0.01
"""Who has read a text orders takes a moment later: the next batch waits for them."""


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
class _Order:
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
class _Call:
    """Something else that the thread that draws is to do."""

    order: _Order
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
class _Row:
    """One take that is to be drawn, the `number`-th of its order."""

    order: _Order
    number: int
    condition: Condition
    negative: Condition
    seed: int
    context: Draw | None
    sampling: FullSampling
    seconds: float | None

    @property
    def kind(self) -> tuple[object, ...]:
        """Rows of one kind may share a batch."""
        return self.sampling, self.seconds, _shape(self.condition), _shape(self.negative), _lengths(self.context)


class Desk:
    """Draws what any number of threads ask for, one batch at a time; of small backbones one on each core.

    Where memory runs out a batch is halved, and so are all batches after it.

    Parameters
    ----------
    backbone
        Draws.
    rows
        So many rows has every batch, filled up with copies of its last one; None gives each batch as many as one window
        has takes, `TOGETHER` at most.
    small
        Whether batches are made on one core each, side by side, of `ON_ONE_CORE` at most; not where they have a shape.
    tell
        Told each time that batches become smaller for want of memory.
    """

    def __init__(
        self,
        backbone: Backbone,
        rows: int | None = None,
        tell: Callable[[str], None] | None = None,
        small: bool = False,
    ) -> None:
        self.backbone = backbone
        self._tell = tell
        self._fixed = rows is not None
        self._small = small and not self._fixed
        self._most = rows or (ON_ONE_CORE if self._small else TOGETHER)
        self._asked: SimpleQueue[list[_Row] | _Call] = SimpleQueue()
        # One that knows who holds it: an interrupt may come when it is taken and before that is noted here.
        self._drawing = threading.RLock()
        self._halving = threading.Lock()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, backbone: Backbone, tell: Callable[[str], None] | None = None) -> Desk:
        """With batches as they suit a backbone and the device that it computes on, its attribute ``device``.

        One with a true attribute ``one_core`` is so small that a second core is better used for another batch. One that
        writes whole pieces keeps a GPU busy with a few, and those of two videos are hardly ever equally long.
        """
        on_gpu = str(getattr(backbone, "device", "cpu")).startswith("cuda")
        rows = ROWS_ON_GPU if on_gpu and not writes_pieces(backbone) else None
        return cls(backbone, rows, tell, not on_gpu and bool(getattr(backbone, "one_core", False)))

    def draw(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None,
        sampling: FullSampling,
        seconds: float | None = None,
    ) -> list[Drawn]:
        """One take a seed; parameters as of `Backbone.generate`, with one row each; `seconds` where it takes them.

        Raises
        ------
        Exception
            What the backbone raises; where memory runs out only once a single row does not fit.
        """
        if self._fixed:
            # Without a mask all tokens are read, and there are always as many.
            condition, negative = (one if one.mask is None else in_blocks(one) for one in (condition, negative))
        order = _Order(len(seeds))
        rows = [
            _Row(order, number, condition, negative, seed, context, sampling, seconds)
            for number, seed in enumerate(seeds)
        ]
        thread = self._thread
        if self._small:
            self._draw_side_by_side(order, rows)
        elif thread is None:
            self._in_turn(lambda: self._draw_all(rows))
            order.wait(threading.current_thread())
        else:
            self._asked.put(rows)
            order.wait(thread)
        return [order.takes[number] for number in range(order.count)]

    def alone(self, call: Callable[[], T]) -> T:
        """What a function returns that computes with the backbone, called while nobody else does.

        Two networks at once would contend for a GPU, networks that are offloaded go to and fro, and settings of PyTorch
        that hold while music is drawn belong to the whole process: a text would be read one way or the other. Of small
        backbones, for which neither holds, one such call at a time is made, on one core, and music is drawn beside it.

        Parameters
        ----------
        call
            Computes; in inference mode, perhaps in another thread. It may not call `draw`.

        Raises
        ------
        Exception
            What the function raises.
        """
        import torch

        returned: list[T] = []

        def compute() -> None:
            with torch.inference_mode():
                returned.append(call())

        thread = self._thread
        if thread is None:
            self._in_turn((lambda: on_one_core_each([compute], THREADS)) if self._small else compute)
            return returned[0]
        order = _Order(1)
        self._asked.put(_Call(order, compute))
        order.wait(thread)
        return returned[0]

    def _draw_side_by_side(self, order: _Order, rows: list[_Row]) -> None:
        most = self._most
        batches = [rows[at : at + most] for at in range(0, len(rows), most)]
        on_one_core_each([partial(self._draw_all, batch) for batch in batches], THREADS)
        order.wait(threading.current_thread())

    def _in_turn(self, compute: Callable[[], object]) -> None:
        try:
            # In short waits, between which an interrupt is heard.
            while not self._drawing.acquire(timeout=POLL_SECONDS):
                pass
            compute()
        finally:
            with suppress(RuntimeError):  # it was not taken
                self._drawing.release()

    @contextmanager
    def shared(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Within this context a thread of the desk's own computes all that others ask for, and fills batches with it.

        Only where batches have a shape of their own; elsewhere each draws for itself, small backbones side by side and
        others in turn.

        Parameters
        ----------
        tell
            Told each time that batches become smaller for want of memory, in place of who is told otherwise.
        """
        before, self._tell = self._tell, tell
        try:
            if self._fixed:
                self._thread = threading.Thread(target=self._serve, name=THREADS)
                self._thread.start()
            yield
        finally:
            thread, self._thread, self._tell = self._thread, None, before
            if thread is not None and thread.ident is not None:
                interrupt(thread)
                thread.join()

    def _serve(self) -> None:
        waiting: list[_Row] = []
        with suppress(KeyboardInterrupt):  # those who wait are interrupted as well
            while self._thread is not None:
                asked = _arrived(self._asked, 0.0 if waiting else POLL_SECONDS)
                calls = [one for one in asked if isinstance(one, _Call)]
                waiting += [row for one in asked if not isinstance(one, _Call) for row in one]
                for call in calls:
                    call()
                if calls:
                    time.sleep(AFTER_READING_SECONDS)
                    continue
                rows, waiting = self._alike([row for row in waiting if not row.order.over])
                self._draw_all(rows)

    def _alike(self, waiting: list[_Row]) -> tuple[list[_Row], list[_Row]]:
        """The rows that have waited longest and others of their kind, as many as a batch holds; and all others."""
        kinds = [row.kind for row in waiting]
        taken = [number for number, kind in enumerate(kinds) if kind == kinds[0]][: self._most]
        return [waiting[n] for n in taken], [row for n, row in enumerate(waiting) if n not in taken]

    def _draw_all(self, rows: list[_Row]) -> None:
        """Draw rows of one kind, as many at once as there is memory for; errors go to those who ordered them."""
        import torch

        while rows := [row for row in rows if not row.order.over]:  # nobody waits for the others any more
            most = self._most
            some = rows[:most]
            try:
                with torch.inference_mode():
                    self._draw(some)
            except Exception as error:
                if not self._halved(error, most):
                    orders = list(dict.fromkeys(row.order for row in rows))
                    if len(orders) == 1:
                        orders[0].end(error)
                        return
                    # One that can't be drawn costs none of the others.
                    for order in orders:
                        self._draw_all([row for row in rows if row.order is order])
                    return
            else:
                rows = rows[len(some) :]

    def _draw(self, rows: list[_Row]) -> None:
        filled = rows + [rows[-1]] * (self._most - len(rows)) if self._fixed else rows
        contexts = [row.context for row in filled if row.context is not None]
        generate: Any = self.backbone.generate
        # The protocol knows windows of one length alone.
        length = {} if rows[0].seconds is None else {"seconds": rows[0].seconds}
        made: Draw = generate(
            _joined([row.condition for row in filled]),
            _joined([row.negative for row in filled]) if self._fixed else rows[0].negative,
            [row.seed for row in filled],
            Draw.joined(contexts) if contexts else None,
            rows[0].sampling,
            **length,
        )
        for number, row in enumerate(rows):
            row.order.take(row.number, Drawn(made.row(number), len(filled)))

    def _halved(self, error: Exception, most: int) -> bool:
        """Make batches smaller where memory ran out with so many rows and they can be."""
        import torch

        if most == 1 or not is_shortage(error):
            return False
        # What the failed attempt holds is freed with its frames.
        error.__traceback__ = None
        gc.collect()
        torch.cuda.empty_cache()
        with self._halving:
            if self._most < most:
                return True  # another thread's batch failed as well, and made them smaller
            self._most = most // 2
        if self._tell is not None:
            rows = ("1 take" if most // 2 == 1 else f"{most // 2} takes") + (" on each core" if self._small else "")
            self._tell(f"memory ran out while music was drawn: it is drawn {rows} at a time from now on")
        return True


def _arrived(queue: SimpleQueue[T], seconds: float) -> list[T]:
    """All that is in a queue; the first is waited for so long."""
    arrived: list[T] = []
    with suppress(Empty):
        arrived.append(queue.get(timeout=seconds))
        while True:
            arrived.append(queue.get_nowait())
    return arrived


def _shape(condition: Condition) -> tuple[object, ...]:
    return tuple(condition.states.shape[1:]), condition.mask is None


def _lengths(context: Draw | None) -> tuple[object, ...]:
    parts = () if context is None else (context.audio, context.codes, context.latents)
    return tuple(None if part is None else tuple(part.shape[1:]) for part in parts)


def _joined(conditions: Sequence[Condition]) -> Condition:
    import torch

    masks = [one.mask for one in conditions if one.mask is not None]
    states: list[Tensor] = [one.states for one in conditions]
    return Condition(torch.cat(states), torch.cat(masks) if masks else None)
