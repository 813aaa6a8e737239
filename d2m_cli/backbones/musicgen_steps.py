"""MusicGen's decoder as a function of tensors, and one step of drawing that is recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, EncoderDecoderCache, StaticCache
from transformers.cache_utils import StaticLayer

from d2m_cli.backbones.base import Condition, FullSampling
from d2m_cli.backbones.codebooks import Writing, twice
from d2m_cli.backbones.codec_language import TokenLayout
from d2m_cli.backbones.recording import captured

KEY_BLOCK = 8
"""Steps to whose multiples a cache of fixed size is rounded up: attention would fill up other lengths each time."""

Read = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Any], Tensor]
"""What `Reader` does: tokens, places, earlier, states, heard, cache -> logits."""


class Reader(nn.Module):
    """The decoder as a plain function of tensors.

    transformers' own forward pass makes its masks and positions from the length of the cache, which is a number that a
    recorded graph would have to fetch from the GPU, and takes one condition for all layers. Its layers are the same.
    """

    positions: Tensor

    def __init__(self, decoder: Any, steps: int) -> None:
        super().__init__()
        self.language = decoder
        table = decoder.model.decoder.embed_positions.get_embedding(steps, decoder.config.hidden_size)
        self.register_buffer("positions", table.to(decoder.device), persistent=False)

    def forward(
        self, tokens: Tensor, places: Tensor, earlier: Tensor, states: Tensor, heard: Tensor | None, cache: Any
    ) -> Tensor:
        """Logits (batch, codebooks, steps, cardinality) of what follows each step.

        Parameters
        ----------
        tokens
            (batch, codebooks, steps).
        places
            (steps,) position of each.
        earlier, heard
            Added to self- and cross-attention.
        states
            (batch, tokens, width) of the text, or (batch, layers, tokens, width).
        cache
            Of transformers, or None.
        """
        inner = self.language.model.decoder
        embedded = sum(table(tokens[:, book]) for book, table in enumerate(inner.embed_tokens))
        hidden = embedded + self.positions[places].to(embedded)
        states = states.to(hidden.dtype)
        for number, layer in enumerate(inner.layers):
            own = states[:, number] if states.ndim == 4 else states
            hidden = layer(
                hidden, earlier, own, encoder_attention_mask=heard, past_key_values=cache, use_cache=cache is not None
            )
        hidden = inner.layer_norm(hidden)
        return torch.stack([head(hidden) for head in self.language.lm_heads], 1)


def seen(places: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """(1, 1, steps, length) to add to self-attention: each step sees those before it and itself."""
    hidden = torch.arange(length, device=places.device)[None] > places[:, None]
    return _additive(hidden, dtype)[None, None]


def heard(condition: Condition, dtype: torch.dtype) -> Tensor | None:
    """(batch, 1, 1, tokens) to add to cross-attention: padding is not heard. None where there is no mask."""
    if condition.mask is None:
        return None
    # Where there is no text at all the states are zeros, and so is what is heard of them; hiding every one of them
    # would divide zero by zero where a mask is rounded to minus infinity.
    hidden = ~condition.mask & condition.mask.any(1, keepdim=True)
    return _additive(hidden, dtype)[:, None, None]


def _additive(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, torch.finfo(dtype).min)


class _KeptLayer(StaticLayer):  # type: ignore[misc]
    """What a layer keeps of the steps that were read, in memory of fixed size.

    transformers' own counts in every layer anew where it stands, by three kernels each; here all are told once.
    """

    places: Tensor

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write new keys and values to `places`, which is told from outside; returns all that is kept."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys: Any = self.keys
        values: Any = self.values
        return keys.index_copy_(2, self.places, key_states), values.index_copy_(2, self.places, value_states)


class Recording:
    """One step for batches of one shape, made again and again in the same memory: read the last tokens, draw the next.

    On a CUDA device the step is recorded as a CUDA graph when the first batch is drawn (Sec. "CUDA graphs" of PyTorch's
    notes): hundreds of small kernels are then launched by one call, and nothing is fetched from the device between
    steps. Only the first piece of each batch, the context or the filler, is read kernel by kernel, since it has any
    length and computes what the layers hear of the text. Recording takes about as long as a few plain steps, of which a
    window has hundreds, so that it is worth it for a single window. Elsewhere the step is made as it is.

    Parameters
    ----------
    reader
        Reads the first piece.
    read_step
        Reads single steps: the same, or a compiled one.
    layout
        How the model writes tokens.
    rows
        That are read at once, with guidance twice as many as are drawn.
    tokens
        Of the text, with padding.
    frames
        Of a window.
    sampling
        How tokens are drawn.
    """

    def __init__(
        self, reader: Reader, read_step: Read, layout: TokenLayout, rows: int, tokens: int, frames: int,
        sampling: FullSampling,
    ) -> None:  # fmt: skip
        decoder = reader.language
        self._reader, self._read_step, self._sampling = reader, read_step, sampling
        self._dtype, self.device = decoder.dtype, reader.positions.device
        self._guided = sampling.guidance != 1
        self._writing = Writing(
            rows // 2 if self._guided else rows, frames, layout.delays, layout.cardinality, self.device
        )
        self._length = self._writing.steps + -self._writing.steps % KEY_BLOCK
        self._kept: list[Any] = [_KeptLayer(self._length) for _ in range(decoder.config.num_hidden_layers)]
        self._cache = EncoderDecoderCache(
            Cache(layers=self._kept), StaticCache(config=decoder.config, max_cache_len=tokens)
        )
        self._heard = torch.zeros(rows, 1, 1, tokens, dtype=self._dtype, device=self.device)
        # After the first piece the layers take what they hear from the cache: a step must not read the text's own
        # tensor, which is another for each batch.
        self._no_states = torch.zeros(rows, 1, decoder.config.hidden_size, dtype=self._dtype, device=self.device)
        self._ready = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def write(self, condition: Condition, known: Tensor, seeds: Sequence[int]) -> Tensor:
        """Draw a window for each row.

        Parameters
        ----------
        condition
            Of all rows that are read, from :func:`d2m_cli.backbones.text_padding.in_blocks`.
        known
            (batch, codebooks, n) frames to begin with; n may be 0.
        seeds
            One for each row that is drawn.

        Returns
        -------
        (batch, codebooks, frames), beginning with `known`.

        Raises
        ------
        torch.cuda.OutOfMemoryError
            The recording, or what it works with, does not fit.
        """
        if known.shape[-1] == self._writing.frames:
            return known.clone()
        if not self._ready:
            self._begin(condition, known[..., :0], seeds)
            self._record()
            self._ready = True
        for _ in range(self._begin(condition, known, seeds)):
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
        return self._writing.written()

    def _begin(self, condition: Condition, known: Tensor, seeds: Sequence[int]) -> int:
        """Read the first piece, and draw what follows it; returns how many steps remain."""
        self._cache.reset()
        self._cache.is_updated = dict.fromkeys(self._cache.is_updated, False)
        mask = heard(condition, self._dtype)
        assert mask is not None
        self._heard.copy_(mask)
        left = self._writing.begin(known, seeds)
        first = self._writing.tokens[..., : known.shape[-1] + 1]
        places = torch.arange(first.shape[-1], device=self.device)
        self._draw(self._reader, first, places, condition.states)
        return left - 1

    def _step(self) -> None:
        place = self._writing.at
        self._draw(self._read_step, self._writing.tokens.index_select(-1, place), place, self._no_states)

    def _draw(self, read: Read, tokens: Tensor, places: Tensor, states: Tensor) -> None:
        tokens = twice(tokens) if self._guided else tokens
        earlier = seen(places, self._length, self._dtype)
        for layer in self._kept:
            layer.places = places
        self._writing.draw(read(tokens, places, earlier, states, self._heard, self._cache)[:, :, -1], self._sampling)

    def _record(self) -> None:
        if self.device.type == "cuda":
            self._graph = captured(self._step, self.device)
