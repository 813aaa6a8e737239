"""Prompts through a frozen text encoder, with the vectors of pseudo-words in place of input embeddings (Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from d2m_cli.errors import EncoderMismatchError
from d2m_cli.inversion.placement import placed, spread, with_all_axes
from d2m_cli.inversion.prompt import tokenize, unread_text

KEPT = 4096
"""Prompts whose tokens are remembered: training reads the same few again and again."""


@dataclass(frozen=True, repr=False)
class ReadText:
    """What a text encoder made of a batch of prompts.

    Attributes
    ----------
    states
        (batch * layers, tokens, width); the rows of one prompt, one a layer, follow each other.
    read
        (batch, tokens) bool, False where a row holds padding that was not read.
    layers
        1, or how many sets of vectors the pseudo-words had.
    """

    states: Tensor
    read: Tensor
    layers: int

    def by_layers(self) -> Tensor:
        """(batch, tokens, width), or (batch, layers, tokens, width) where there are several."""
        if self.layers == 1:
            return self.states
        return self.states.reshape(-1, self.layers, *self.states.shape[1:])


class PromptReader:
    """A frozen text encoder that takes pseudo-words, from any number of threads.

    Parameters
    ----------
    encoder, tokenizer
        Of transformers: CLIP, T5 or kin.
    length
        How many tokens it reads.
    layers
        At how many places the backbone reads the text.
    name
        Of the backbone, for texts.
    pad
        Whether padding is read as words are, up to `length` (as Stable Diffusion's CLIP does), or hidden.
    """

    def __init__(self, encoder: Any, tokenizer: Any, length: int, layers: int, name: str, *, pad: bool) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.length, self.layers, self.name, self.pad = length, layers, name, pad
        # A tokenizer's settings belong to itself, and it refuses to change them while another thread reads with it.
        self._tokenizing = Lock()
        self._tokenized = lru_cache(maxsize=KEPT)(self._tokenize)

    def __call__(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> ReadText:
        """Read prompts; see :meth:`d2m_cli.backbones.base.Backbone.embed`.

        Raises
        ------
        EncoderMismatchError
            Vectors for another number of layers than the network has places that read the text.
        UsageError
            A placeholder lies behind what the text encoder reads.
        """
        words = {word: with_all_axes(vectors) for word, vectors in pseudo_words.items()}
        counts = tuple((word, vectors.shape[2]) for word, vectors in words.items())
        tokenized = [self._tokenized(prompt, counts) for prompt in prompts]
        placement = spread(words, [dict(places) for _, places in tokenized])
        layers = placement.layers
        if layers not in (1, self.layers):
            raise EncoderMismatchError(
                f"pseudo-words for {layers} layers, but {self.name} reads the text at {self.layers} places. Train "
                "encoders for it with `d2m train`."
            )
        # A tokenizer that puts nothing before and behind a text makes nothing of an empty one.
        longest = max(1, *(len(ids) for ids, _ in tokenized))
        filler = self.tokenizer.pad_token_id
        device = next(self.encoder.parameters()).device
        rows = torch.tensor([[*ids, *[filler] * (longest - len(ids))] for ids, _ in tokenized], device=device)
        lengths = torch.tensor([len(ids) for ids, _ in tokenized], device=device)
        read = torch.arange(longest, device=device)[None] < lengths[:, None]
        hidden = {} if self.pad else {"attention_mask": read.repeat_interleave(layers, 0).long()}
        with placed(self.encoder, placement):
            states = self.encoder(rows.repeat_interleave(layers, 0), **hidden).last_hidden_state
        return ReadText(states, read, layers)

    def unread(self, prompt: str, pseudo_words: Mapping[str, Tensor]) -> str:
        """The end of a prompt that is not read; see :func:`d2m_cli.backbones.base.unread_words`."""
        counts = {word: with_all_axes(vectors).shape[2] for word, vectors in pseudo_words.items()}
        with self._tokenizing:
            return unread_text(self.tokenizer, prompt, counts, self.length)

    def _tokenize(
        self, prompt: str, counts: tuple[tuple[str, int], ...]
    ) -> tuple[tuple[int, ...], tuple[tuple[str, tuple[int, ...]], ...]]:
        with self._tokenizing:
            ids, places = tokenize(self.tokenizer, prompt, dict(counts), self.length, pad=self.pad)
        return tuple(ids), tuple((word, tuple(where)) for word, where in places.items())
