"""Where windows are drawn: what several threads ask of one backbone, in batches of a known shape.

The bytes of a take hang on its seed, its condition and the shape of its batch, not on what else is in the batch. On a
GPU all batches have one shape, whoever shares them; on a CPU, where a row that nobody needs costs as much as any other,
a batch holds takes of one window: all of them, or as many as one core makes at once.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast

from d2m_cli.backbones.base import Condition, Draw, FullSampling, writes_pieces
from d2m_cli.backbones.text_padding import in_blocks
from d2m_cli.generation.orders import Call, Order, Row
from d2m_cli.generation.orders import Drawn as Drawn
from d2m_cli.ground.background import POLL_SECONDS
from d2m_cli.ground.interrupts import interrupt
from d2m_cli.ground.lanes import Lanes, Stay
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
"""Takes in each batch on a GPU.

There is no second, smaller shape for what is left over, such as the last two of ten takes. The shape of a row may not
hang on who else waits, or its bytes would; a window's own number of takes would have to say it. Where videos share
batches, these are full anyway, and such rows would only be kept out of them: MusicGen takes as long for one row as for
eight (docs/gpu.md). A lone video with more than eight takes a window would gain, for one more recorded step.
"""
THREADS = "d2m-drawing"
"""Their name."""
AFTER_READING_SECONDS = 0.01
"""Who has read a text orders takes a moment later: the next batch waits for them."""


class Desk:
    """Draws what any number of threads ask for, one batch at a time; of small backbones one on each core.

    Where memory runs out a batch is halved, and so are all batches after it. Where it runs out for a single row while
    others are being drawn beside it, all are drawn one at a time from then on.

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
        self._asked: SimpleQueue[list[Row] | Call] = SimpleQueue()
        # One that knows who holds it: an interrupt may come when it is taken and before that is noted here.
        self._drawing = threading.RLock()
        self._lanes = Lanes()
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
        draft: bool = False,
    ) -> list[Drawn]:
        """One take a seed; parameters as of `Backbone.generate`, with one row each; `seconds` where it takes them.

        `draft` only where `makes_drafts`; `in_full` then gives the one that is kept.

        Raises
        ------
        Exception
            What the backbone raises; where memory runs out only once a single row does not fit while nothing else is
            drawn.
        """
        if self._fixed:
            # Without a mask all tokens are read, and there are always as many.
            condition, negative = (one if one.mask is None else in_blocks(one) for one in (condition, negative))
        order = Order(len(seeds))
        rows = [
            Row(order, number, condition, negative, seed, context, sampling, seconds, draft)
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

    def in_full(self, drafts: Sequence[Drawn], seeds: Sequence[int], wanted: Collection[int]) -> list[Drawn]:
        """Takes that were drawn as drafts with these seeds, those of the wanted numbers sounded in full.

        Raises
        ------
        Exception
            What the backbone raises.
        """
        takes, made = list(drafts), {number: list[Draw]() for number in wanted}
        sound = cast(Any, self.backbone).in_full
        calls = {number: partial(sound, takes[number].music, [seeds[number]]) for number in made}
        if self._small:
            # One that waits for its turn would keep a core from those who look for poses.
            on_one_core_each([partial(self._compute, calls[number], made[number]) for number in made], THREADS)
        else:
            made = {number: [self.alone(calls[number])] for number in made}
        for number, (music,) in made.items():
            takes[number] = replace(takes[number], music=music)
        return takes

    def alone(self, call: Callable[[], T]) -> T:
        """What a function returns that computes with the backbone, called while nobody else does.

        Two networks at once would contend for a GPU, networks that are offloaded go to and fro, and settings of PyTorch
        that hold while music is drawn belong to the whole process: a text would be read one way or the other. Of small
        backbones, for which neither holds, one such call at a time is made, on one core, and music is drawn beside it.

        Where memory runs out it is called once more, with nothing drawn beside it and what can be spared given back.

        Parameters
        ----------
        call
            Computes; in inference mode, perhaps in another thread, and twice where memory runs out. It may not call
            `draw`.

        Raises
        ------
        Exception
            What the function raises.
        """
        returned: list[T] = []
        compute = partial(self._compute, call, returned)
        thread = self._thread
        if thread is None:
            self._in_turn((lambda: on_one_core_each([compute], THREADS)) if self._small else compute)
            return returned[0]
        order = Order(1)
        self._asked.put(Call(order, compute))
        order.wait(thread)
        return returned[0]

    def _compute(self, call: Callable[[], T], returned: list[T]) -> None:
        """Call a function, once more with nothing beside it where memory runs out, and note what it returns."""
        import torch

        for again in (False, True):
            try:
                with self._lanes.inside(1, alone=again), torch.inference_mode():
                    returned.append(call())
            except Exception as error:
                if again or not is_shortage(error):
                    raise
                self._give_back(error)
            else:
                return

    def _draw_side_by_side(self, order: Order, rows: list[Row]) -> None:
        # One that waits for its turn would keep a core from those who look for poses.
        most = len(rows) if self._lanes.one_at_a_time else self._most
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
        waiting: list[Row] = []
        with suppress(KeyboardInterrupt):  # those who wait are interrupted as well
            while self._thread is not None:
                asked = _arrived(self._asked, 0.0 if waiting else POLL_SECONDS)
                calls = [one for one in asked if isinstance(one, Call)]
                waiting += [row for one in asked if not isinstance(one, Call) for row in one]
                for call in calls:
                    call()
                if calls:
                    time.sleep(AFTER_READING_SECONDS)
                    continue
                rows, waiting = self._alike([row for row in waiting if not row.order.over])
                self._draw_all(rows)

    def _alike(self, waiting: list[Row]) -> tuple[list[Row], list[Row]]:
        """The rows that have waited longest and others of their kind, as many as a batch holds; and all others."""
        kinds = [row.kind for row in waiting]
        taken = [number for number, kind in enumerate(kinds) if kind == kinds[0]][: self._most]
        return [waiting[n] for n in taken], [row for n, row in enumerate(waiting) if n not in taken]

    def _draw_all(self, rows: list[Row]) -> None:
        """Draw rows of one kind, as many at once as there is memory for; errors go to those who ordered them."""
        import torch

        alone = False
        while rows := [row for row in rows if not row.order.over]:  # nobody waits for the others any more
            most = self._most
            some = rows[:most]
            try:
                with self._lanes.inside(most, alone=alone) as stay, torch.inference_mode():
                    self._draw(some)
            except Exception as error:
                if is_shortage(error) and self._room_made(error, most, stay):
                    alone = most == 1
                else:
                    orders = list(dict.fromkeys(row.order for row in rows))
                    if len(orders) == 1:
                        orders[0].end(error)
                        return
                    # One that can't be drawn costs none of the others.
                    for order in orders:
                        self._draw_all([row for row in rows if row.order is order])
                    return
            else:
                rows, alone = rows[len(some) :], False

    def _draw(self, rows: list[Row]) -> None:
        filled = rows + [rows[-1]] * (self._most - len(rows)) if self._fixed else rows
        contexts = [row.context for row in filled if row.context is not None]
        generate: Any = self.backbone.generate
        # The protocol knows windows of one length alone, and no drafts.
        more: dict[str, Any] = {} if rows[0].seconds is None else {"seconds": rows[0].seconds}
        if rows[0].draft:
            more["draft"] = True
        made: Draw = generate(
            _joined([row.condition for row in filled]),
            _joined([row.negative for row in filled]) if self._fixed else rows[0].negative,
            [row.seed for row in filled],
            Draw.joined(contexts) if contexts else None,
            rows[0].sampling,
            **more,
        )
        for number, row in enumerate(rows):
            row.order.take(row.number, Drawn(made.row(number), len(filled)))

    def _room_made(self, error: Exception, most: int, stay: Stay) -> bool:
        """Have less drawn at once where memory ran out with so many rows; False where it can't be less."""
        if most == 1 and not stay.beside:
            return False
        self._give_back(error)
        with self._halving:
            if most > 1:
                if self._most < most:
                    return True  # another thread's batch failed as well, and made them smaller
                self._most = most // 2
                core = " on each core" if self._small else ""
            else:
                # A larger batch than there will be from now on may have been what it did not fit beside.
                if self._lanes.one_at_a_time or stay.beside > most:
                    return True
                self._lanes.one_at_a_time, core = True, ""
        if self._tell is not None:
            rows = ("1 take" if self._most == 1 else f"{self._most} takes") + core
            self._tell(f"memory ran out while music was drawn: it is drawn {rows} at a time from now on")
        return True

    def _give_back(self, error: Exception) -> None:
        """Free what a failed attempt holds, and what can be made anew."""
        import torch

        # Its tensors go with its frames.
        error.__traceback__ = None
        forget: Callable[[], None] = getattr(self.backbone, "forget_recordings", lambda: None)
        forget()
        gc.collect()
        torch.cuda.empty_cache()


def _arrived(queue: SimpleQueue[T], seconds: float) -> list[T]:
    """All that is in a queue; the first is waited for so long."""
    arrived: list[T] = []
    with suppress(Empty):
        arrived.append(queue.get(timeout=seconds))
        while True:
            arrived.append(queue.get_nowait())
    return arrived


def _joined(conditions: Sequence[Condition]) -> Condition:
    import torch

    masks = [one.mask for one in conditions if one.mask is not None]
    states: list[Tensor] = [one.states for one in conditions]
    return Condition(torch.cat(states), torch.cat(masks) if masks else None)
