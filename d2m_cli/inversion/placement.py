"""Put the vectors of pseudo-words in place of input embeddings, inside a frozen text encoder (Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def placed(embedding: nn.Embedding, rows: list[int], places: list[int], vectors: Tensor) -> Iterator[None]:
    """While open, the embedding layer answers with ``vectors[i]`` at ``[rows[i], places[i]]``.

    Works for every text encoder that looks its tokens up in an ``nn.Embedding`` (CLIP, T5). Other words keep their
    embeddings; gradients flow to the vectors alone.

    Parameters
    ----------
    embedding
        The encoder's input embedding layer.
    rows, places
        Batch rows and token indices to replace.
    vectors
        (len(rows), width).
    """

    def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        index = (torch.tensor(rows, device=output.device), torch.tensor(places, device=output.device))
        return output.detach().clone().index_put(index, vectors.to(output))

    if not rows:
        yield
        return
    handle = embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
