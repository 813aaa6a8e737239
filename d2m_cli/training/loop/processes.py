"""The processes of one training: one, or as many as `accelerate launch` started, and how they are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option
from d2m_cli.training.options import TrainOptions

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


def make_accelerator(options: TrainOptions, device: str) -> Accelerator:
    """Accelerate's view of the machine: one process, or as many as `accelerate launch` started.

    Raises
    ------
    UsageError
        fp16 without CUDA.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    if options.precision == "fp16" and device == "cpu":
        raise UsageError(f"{option('precision', 'fp16')} needs a CUDA device: choose bf16 or fp32")
    # Accelerate keeps the first choice of a process for good, and refuses another: a notebook may train twice.
    AcceleratorState._reset_state(reset_partial_state=True)
    mixed = "no" if options.precision == "fp32" else options.precision
    # The others wait while the first process reads poses off videos, validates and makes samples.
    patient = InitProcessGroupKwargs(timeout=timedelta(days=1))
    return Accelerator(cpu=device == "cpu", mixed_precision=mixed, kwargs_handlers=[patient])


@contextmanager
def apart_from_others() -> Iterator[None]:
    """Keeps what a notebook's own Accelerator goes by from being changed by a training.

    All Accelerators of a process share their state, gradient accumulation included, and there is no public way to have
    another one for a while.
    """
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared_states = [state._shared_state for state in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in shared_states]
    for state in shared_states:
        state.clear()
    try:
        yield
    finally:
        # In place: what exists already holds these very dictionaries.
        for state, values in zip(shared_states, before, strict=True):
            state.clear()
            state.update(values)


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Makes a device such as "cuda:1" the one that is meant by "cuda"; others change nothing."""
    import torch

    if torch.device(device).index is None:
        yield
    else:
        with torch.cuda.device(device):
            yield


def shared(value: T, accelerator: Accelerator) -> T:
    """What the main process knows, in all processes."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    values = [value]
    broadcast_object_list(values)
    return values[0]


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Lets an update end before an interrupt or a request to end takes effect; a second one takes effect at once."""
    asked = False

    def note(number: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, before[signal.Signals(number)])

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, note)
    except ValueError:
        # Not in the main thread: whoever runs this there handles signals.
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
