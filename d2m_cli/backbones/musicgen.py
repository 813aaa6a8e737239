"""MusicGen by transformers: small, medium, large, their stereo kin, and all models in that layout (Sec. 3.1, Eq. 3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DynamicCache,
    EncoderDecoderCache,
    MusicgenForConditionalGeneration,
    StaticCache,
)
from transformers.utils import logging as transformers_logging

from d2m_cli.backbones.base import Condition, Identity, number_format, refuse_gaps, require_tokenizer
from d2m_cli.backbones.codebooks import Step
from d2m_cli.backbones.codec_language import CodecLanguageBackbone, TokenLayout
from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.options import option

ATTENTION = {"decoder": "sdpa", "text_encoder": "eager", "audio_encoder": "eager"}
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
TEXT_BLOCK = 64
"""Tokens to whose multiples the text is filled up for the compiled decoder: each length compiles again."""
KEY_BLOCK = 8
"""Steps to whose multiples its cache is rounded up: attention would fill up other lengths each time."""


class MusicgenBackbone(CodecLanguageBackbone):
    """A frozen `MusicgenForConditionalGeneration`; see :class:`d2m_cli.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        Folder that `save_pretrained` wrote, or a snapshot of a hub model.
    identity
        Name and licence.
    device
        "cpu" or "cuda".
    precision
        Number format of the decoder, as in `d2m_cli.backbones.base.number_format`. Text encoder and codec stay in fp32:
        T5 overflows in fp16, and both take a small part of the time.
    compiled
        Read tokens with a cache of fixed size through torch.compile, which on a GPU also records CUDA graphs: a slow
        start, and fast windows after it.

    Raises
    ------
    MissingWeightsError
        The folder holds no such model, or a damaged one.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        device: str = "cpu",
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        self.folder, self.compiled = folder, compiled
        self.model = _load(folder)
        self.model.to(torch.device(device)).eval().requires_grad_(False)
        self.decoder: Any = self.model.decoder
        self.decoder.to(number_format(device, precision))
        self.codec: Any = self.model.audio_encoder
        config = self.decoder.config
        super().__init__(
            identity,
            TokenLayout(
                sample_rate=int(self.codec.config.sampling_rate),
                channels=int(config.audio_channels),
                frame_rate=self.codec.config.sampling_rate / _hop(self.codec.config),
                # The two channels of a stereo model take turns, and are delayed alike.
                delays=tuple(book // config.audio_channels for book in range(config.num_codebooks)),
                cardinality=int(config.vocab_size),
            ),
            self.model.text_encoder,
            _tokenizer(folder),
            device,
            int(config.num_hidden_layers),
        )
        if config.pad_token_id != config.vocab_size:
            raise MissingWeightsError(
                f"{folder}: its decoder fills gaps with token {config.pad_token_id}, and MusicGen with the one behind "
                f"the last, {config.vocab_size}. Use another model."
            )
        self._reader = _Reader(self.decoder, self.frames + max(self.layout.delays))
        self._compiled_reader: Any = None
        self._caches: dict[tuple[int, int, int], Any] = {}

    @property
    def description(self) -> str:
        """One line that says which weights run on which device."""
        dtype = str(self.decoder.dtype).removeprefix("torch.")
        return f"{self.name} on {self.device} ({dtype}{', compiled' if self.compiled else ''})"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights files: the same on every device and in every precision."""
        digest = sha256()
        for path in weights_files(self.folder):
            digest.update(f"{path.name} {file_sha256(path)}\n".encode())
        return digest.hexdigest()

    @cached_property
    def targets_settings(self) -> str:
        """Settings of the codec; see the protocol."""
        config = self.codec.config.to_dict()
        kept = {name: value for name, value in config.items() if name not in ("transformers_version", "_name_or_path")}
        return json.dumps([self.layout.channels, kept], sort_keys=True, default=str)

    def modules(self) -> dict[str, nn.Module]:
        """The frozen networks, by the part of the model that each is."""
        parts = {"decoder": self.decoder, "text_encoder": self.text_encoder, "audio_encoder": self.codec}
        projection = getattr(self.model, "enc_to_dec_proj", None)
        return parts if projection is None else {**parts, "enc_to_dec_proj": projection}

    def ready_for_training(self, precision: str) -> None:
        """Choose number format and attention for backward passes; see the protocol."""
        # They hold what was read in the number format of before.
        self._caches.clear()
        self._compiled_reader = None
        if self.device.type == "cpu":
            # The backward pass of the fused kernel takes most of a step on a CPU.
            self.decoder.set_attn_implementation("eager")
        else:
            self.decoder.to(number_format(self.device.type, precision))

    def _project(self, states: Tensor) -> Tensor:
        projection = getattr(self.model, "enc_to_dec_proj", None)
        projected: Tensor = states if projection is None else projection(states)
        return projected

    def _encode(self, audio: Tensor) -> Tensor:
        batch, channels, _ = audio.shape
        # Each channel is heard alone, by a codec of one channel.
        codes = self.codec.encode(audio.flatten(0, 1)[:, None]).audio_codes
        # Left and right take turns: (batch * channels, books, frames) -> (batch, books * channels, frames).
        alone: Tensor = codes[0]
        return alone.reshape(batch, channels, *alone.shape[1:]).transpose(1, 2).flatten(1, 2)

    def _decode(self, codes: Tensor) -> Tensor:
        batch, channels = len(codes), self.layout.channels
        alone = codes.reshape(batch, -1, channels, codes.shape[-1]).transpose(1, 2).flatten(0, 1)
        audio: Tensor = self.codec.decode(alone[None], [None]).audio_values
        return audio.reshape(batch, channels, audio.shape[-1])

    def _logits(self, tokens: Tensor, condition: Condition) -> Tensor:
        steps = tokens.shape[-1]
        places = torch.arange(steps, device=self.device)
        earlier, heard = self._earlier(places, steps), self._heard(condition)
        logits: Tensor = self._reader(tokens, places, earlier, condition.states, heard, None)
        return logits

    def _stepping(self, condition: Condition, steps: int) -> Step:
        if self.compiled:
            condition = _padded(condition, TEXT_BLOCK)
            steps += -steps % KEY_BLOCK
        cache = (
            self._static_cache(condition, steps)
            if self.compiled
            else EncoderDecoderCache(DynamicCache(), DynamicCache())
        )
        heard = self._heard(condition)
        read = 0

        def step(tokens: Tensor) -> Tensor:
            nonlocal read
            new = tokens.shape[-1]
            places = torch.arange(read, read + new, device=self.device)
            earlier = self._earlier(places, steps if self.compiled else read + new)
            # The first piece fills the cache, and may be of any length; all that follow are one step each.
            reader = self._compiled() if self.compiled and read else self._reader
            logits: Tensor = reader(tokens, places, earlier, condition.states, heard, cache)[:, :, -1]
            read += new
            # A recorded graph gives out the same memory each time.
            return logits.clone() if self.compiled else logits

        return step

    def _static_cache(self, condition: Condition, steps: int) -> Any:
        """One cache for each shape, used again and again: a recorded graph knows it by its place in memory."""
        shape = (len(condition.states), condition.states.shape[-2], steps)
        if shape not in self._caches:
            config = self.decoder.config
            self._caches[shape] = EncoderDecoderCache(
                StaticCache(config=config, max_cache_len=steps), StaticCache(config=config, max_cache_len=shape[1])
            )
        cache = self._caches[shape]
        cache.reset()
        cache.is_updated = dict.fromkeys(cache.is_updated, False)
        return cache

    def _compiled(self) -> Any:
        if self._compiled_reader is None:
            mode = "reduce-overhead" if self.device.type == "cuda" else "default"
            self._compiled_reader = torch.compile(self._reader, mode=mode)
        return self._compiled_reader

    def _earlier(self, places: Tensor, length: int) -> Tensor:
        """(1, 1, steps, length) to add to attention: each step sees those before it and itself."""
        hidden = torch.arange(length, device=self.device)[None] > places[:, None]
        return _additive(hidden, self.decoder.dtype)[None, None]

    def _heard(self, condition: Condition) -> Tensor | None:
        """(batch, 1, 1, tokens) to add to cross-attention: padding is not heard."""
        if condition.mask is None:
            return None
        # Where there is no text at all the states are zeros, and so is what is heard of them; hiding every one of them
        # would divide zero by zero where a mask is rounded to minus infinity.
        hidden = ~condition.mask & condition.mask.any(1, keepdim=True)
        return _additive(hidden, self.decoder.dtype)[:, None, None]


class _Reader(nn.Module):
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


def _additive(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, torch.finfo(dtype).min)


def _padded(condition: Condition, block: int) -> Condition:
    """Text states filled up to a multiple of some tokens, which the mask hides: few lengths make few graphs."""
    tokens = condition.states.shape[-2]
    more = -tokens % block
    mask = condition.mask
    if mask is None:
        mask = torch.ones(len(condition.states), tokens, dtype=torch.bool, device=condition.states.device)
    # Padding by nothing would hand on tensors of inference mode, of which no graph can be recorded.
    return Condition(
        nn.functional.pad(condition.states, (0, 0, 0, more)).clone(), nn.functional.pad(mask, (0, more)).clone()
    )


def _hop(config: Any) -> int:
    product = 1
    for ratio in config.upsampling_ratios:
        product *= ratio
    return product


def weights_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights; safetensors where there are both kinds, as transformers prefers them.

    Raises
    ------
    MissingWeightsError
        There are none.
    """
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    raise MissingWeightsError(
        f"{folder}: holds no model.safetensors and no pytorch_model.bin. Give the folder of a MusicGen model in "
        f"transformers' layout; for audiocraft's own checkpoints say {option('backbone', 'audiocraft:FOLDER')}"
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """It warns of each MusicGen that its filler is no token, which is how MusicGen is made."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _load(folder: Path) -> Any:
    files = ", ".join(str(path) for path in weights_files(folder))
    try:
        with _quiet_transformers():
            config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"{folder}: its config.json can't be read ({error}). Fetch the model again."
        ) from error
    if config.model_type != "musicgen":
        raise MissingWeightsError(
            f"{folder}: holds a model of type {config.model_type!r}, not 'musicgen'. d2m takes musicgen-small, "
            "-medium, -large and their stereo kin; the melody models read a tune besides the text and are another type."
        )
    codec = config.audio_encoder
    if codec.model_type != "encodec" or codec.normalize or codec.chunk_length_s is not None:
        raise MissingWeightsError(
            f"{folder}: its codec is no EnCodec, or one that levels audio or cuts it into pieces, and MusicGen's does "
            "not. Use another model."
        )
    kind: Any = MusicgenForConditionalGeneration
    try:
        with _quiet_transformers():
            model, told = kind.from_pretrained(
                folder, local_files_only=True, attn_implementation=ATTENTION, dtype=torch.float32,
                output_loading_info=True,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, UnpicklingError) as error:
        raise MissingWeightsError(f"{files}: can't be loaded ({error}). Fetch the model again.") from error
    # Positions are computed, though some releases stored them.
    refuse_gaps(files, [name for name in told["missing_keys"] if "embed_positions" not in name])
    return model


def _tokenizer(folder: Path) -> Any:
    require_tokenizer(folder, TOKENIZER_FILES)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"{folder}: its tokenizer can't be loaded ({error}). Fetch the model again."
        ) from error
