"""Put the vectors of pseudo-words in place of input embeddings, inside a frozen text encoder (Sec. 3.1)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_HOOKING = threading.Lock()
"""Held while hooks are set: PyTorch counts them without a lock, and of two with one number the first is gone."""


@dataclass(frozen=True, repr=False)
class Placement:
    """Which input embeddings of a batch are replaced, and by what.

    Attributes
    ----------
    rows, columns
        (n,) int64: row of the batch (with layers, each prompt takes that many rows, one after the other) and token.
    vectors
        (n, width).
    layers
        How many rows each prompt takes.
    """

    rows: Tensor
    columns: Tensor
    vectors: Tensor
    layers: int

    def __repr__(self) -> str:
        return f"Placement({len(self.rows)} embeddings, layers={self.layers})"


def with_all_axes(vectors: Tensor) -> Tensor:
    """Vectors of one pseudo-word as (batch, layers, vectors, width).

    Takes (batch, width) and (batch, vectors, width) too; ValueError for anything else.
    """
    if vectors.ndim == 2:
        return vectors[:, None, None]
    if vectors.ndim == 3:
        return vectors[:, None]
    if vectors.ndim == 4:
        return vectors
    raise ValueError(
        "vectors of a pseudo-word are (batch, width), (batch, vectors, width) or (batch, layers, vectors, width), not "
        f"{tuple(vectors.shape)}"
    )


def spread(pseudo_words: Mapping[str, Tensor], places: Sequence[Mapping[str, Sequence[int]]]) -> Placement:
    """Lay out pseudo-words over a batch of tokenised prompts.

    Parameters
    ----------
    pseudo_words
        For each placeholder (batch, layers, vectors, width); those of one layer serve in all layers of the others.
    places
        For each prompt the tokens at which each placeholder begins, as `d2m_cli.inversion.prompt.tokenize` gives them.
        A placeholder that is not in a prompt is ignored there.

    Raises
    ------
    ValueError
        Batch sizes, widths or layers do not fit each other.
    """
    layers = max((word.shape[1] for word in pseudo_words.values()), default=1)
    for name, word in pseudo_words.items():
        if word.shape[0] != len(places):
            raise ValueError(f"{name!r} has vectors for {word.shape[0]} prompts, but there are {len(places)}")
        if word.shape[1] not in (1, layers):
            raise ValueError(f"{name!r} has vectors for {word.shape[1]} layers, another pseudo-word for {layers}")
    rows, columns, vectors = [], [], []
    for name, word in pseudo_words.items():
        found = [(row, at) for row, where in enumerate(places) for at in where.get(name, ())]
        if not found:
            continue
        prompt, start = torch.tensor(found).T[..., None, None]
        shape = (len(found), layers, word.shape[2])
        rows.append((prompt * layers + torch.arange(layers)[:, None]).expand(shape).flatten())
        columns.append((start + torch.arange(word.shape[2])).expand(shape).flatten())
        vectors.append(word[prompt[:, 0, 0].to(word.device)].expand(-1, layers, -1, -1).flatten(0, 2))
    if not rows:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Placement(nothing, nothing, torch.zeros(0, 0), layers)
    return Placement(torch.cat(rows), torch.cat(columns), torch.cat(vectors), layers)


@contextmanager
def placed(text_encoder: nn.Module, placement: Placement) -> Iterator[None]:
    """While open, the encoder's token embedding answers the thread that opened it with vectors at the given places.

    Other threads read with the same encoder what they placed themselves, or plain words. Works for every text encoder
    of transformers that looks its tokens up in an ``nn.Embedding`` (CLIP, T5). Other words keep their embeddings;
    gradients flow to the vectors alone.

    Parameters
    ----------
    text_encoder
        A model with ``get_input_embeddings``.
    placement
        From `spread`.

    Raises
    ------
    RuntimeError
        The encoder did not look its tokens up while this was open: nothing would have been replaced.
    """
    if not len(placement.rows):
        yield
        return
    used, thread = 0, threading.get_ident()

    def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        nonlocal used
        if threading.get_ident() != thread:
            return output
        used += 1
        index = (placement.rows.to(output.device), placement.columns.to(output.device))
        return output.detach().clone().index_put(index, placement.vectors.to(output))

    with _HOOKING:
        handles = [module.register_forward_hook(replace) for module in token_embeddings(text_encoder)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not used:
        raise RuntimeError(f"{type(text_encoder).__name__} did not use its token embedding; pseudo-words had no effect")


def token_embeddings(text_encoder: nn.Module) -> list[nn.Module]:
    """The layers that look tokens up: T5 has two that share one table, and its encoder uses the second."""
    named: Any = text_encoder
    table = named.get_input_embeddings().weight
    return [module for module in text_encoder.modules() if isinstance(module, nn.Embedding) and module.weight is table]
