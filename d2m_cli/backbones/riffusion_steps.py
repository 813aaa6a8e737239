"""What a UNet predicts with guidance, and the same as one step that is recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from d2m_cli.backbones.recording import captured

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A UNet's prediction for noisy latents, a time step and text states."""


def steered(predict: Predict, latents: Tensor, step: Tensor, states: Tensor, guidance: float | Tensor) -> Tensor:
    """Prediction for (batch, C, H, W) latents in float32, steered away from what the first half of the states says.

    Without guidance there are as many states as latents, and otherwise twice as many.
    """
    if len(states) == len(latents):
        return predict(latents, step, states).float()
    without, given = predict(torch.cat([latents, latents]), step, states).float().chunk(2)
    return without + guidance * (given - without)


class GuidedStep:
    """`steered` for batches of one shape, made again and again in the same memory.

    On a CUDA device it is recorded as a CUDA graph when it is first made: a UNet launches hundreds of kernels, and for
    a single window that takes longer than they run. Elsewhere it is made as it is.

    Parameters
    ----------
    predict
        The UNet.
    latents, states
        Tensors of the shape, number format and device of those that will be given.
    """

    def __init__(self, predict: Predict, latents: Tensor, states: Tensor) -> None:
        self._predict, self.device = predict, latents.device
        # What is kept for the next window must not be made of tensors that only inference mode may change.
        with torch.inference_mode(False):
            self._latents, self._predicted, self._states = map(torch.empty_like, (latents, latents, states))
            self._at = torch.zeros((), dtype=torch.int64, device=self.device)
            self._guidance = torch.ones((), device=self.device)
        self._ready = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def begin(self, states: Tensor, guidance: float) -> None:
        """Take the text of a window's steps, and how strongly they are guided."""
        self._states.copy_(states)
        self._guidance.fill_(guidance)

    def predicted(self, latents: Tensor, step: Tensor) -> Tensor:
        """`steered` for these latents and this time step; the next call writes into the same tensor.

        Raises
        ------
        torch.cuda.OutOfMemoryError
            The recording does not fit.
        """
        self._latents.copy_(latents)
        self._at.copy_(step)
        if not self._ready:
            self._record()
            self._ready = True
        if self._graph is None:
            self._make()
        else:
            self._graph.replay()
        return self._predicted

    def _make(self) -> None:
        made = steered(self._predict, self._latents, self._at, self._states, self._guidance)
        self._predicted.copy_(made)

    def _record(self) -> None:
        if self.device.type == "cuda":
            self._graph = captured(self._make, self.device)
