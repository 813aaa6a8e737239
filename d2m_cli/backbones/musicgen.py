"""MusicGen by transformers: small, medium, large, their stereo kin, and all models in that layout (Sec. 3.1, Eq. 3)."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
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
)
from transformers.utils import logging as transformers_logging

from d2m_cli.backbones.base import (
    Condition,
    Draw,
    FullSampling,
    Identity,
    Sampling,
    number_format,
    refuse_gaps,
    require_tokenizer,
)
from d2m_cli.backbones.codebooks import Step
from d2m_cli.backbones.codec_language import CodecLanguageBackbone, TokenLayout
from d2m_cli.backbones.musicgen_steps import Reader, Recording, heard, seen
from d2m_cli.backbones.recording import kept
from d2m_cli.backbones.text_padding import in_blocks
from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.options import option

ATTENTION = {"decoder": "sdpa", "text_encoder": "eager", "audio_encoder": "eager"}
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
MOST_RECORDINGS = 4
"""Recorded steps that are kept, each with a cache of its own: in a run, the shapes of full and of last batches."""


class MusicgenBackbone(CodecLanguageBackbone):
    """A frozen `MusicgenForConditionalGeneration`; see :class:`d2m_cli.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        Folder that `save_pretrained` wrote, or a snapshot of a hub model.
    identity
        Name and licence.
    device
        "cpu", "cuda", or "cuda:1" of several.
    precision
        Number format of the decoder, as in `d2m_cli.backbones.base.number_format`. Text encoder and codec stay in fp32:
        T5 overflows in fp16, and both take a small part of the time.
    compiled
        Read single steps through torch.compile as well, which makes one kernel of several: a slow start, and faster
        windows after it.
    recorded
        Draw tokens by one step that works in memory that stays, with a cache of fixed size: on a GPU it is recorded as
        a CUDA graph and replayed (:class:`d2m_cli.backbones.musicgen_steps.Recording`), one for each of the last few
        shapes of batch. The tokens are the same up to rounding. None: on a GPU. Where `compiled`, always.

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
        recorded: bool | None = None,
    ) -> None:
        self.folder, self.compiled = folder, compiled
        self.recorded = compiled or (device.startswith("cuda") if recorded is None else recorded)
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
        self._reader = Reader(self.decoder, self.frames + max(self.layout.delays))
        self._compiled_reader: Any = None
        self._recordings: OrderedDict[tuple[float, ...], Recording] = OrderedDict()

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

    def forget_recordings(self) -> None:
        """Give the GPU memory of recorded steps back; they are recorded anew when they are needed."""
        self._recordings.clear()

    def ready_for_training(self, precision: str) -> None:
        """Choose number format and attention for backward passes; see the protocol."""
        # They hold what was read in the number format of before.
        self._recordings.clear()
        self._compiled_reader = None
        if self.device.type == "cpu":
            # The backward pass of the fused kernel takes most of a step on a CPU.
            self.decoder.set_attn_implementation("eager")
        else:
            self.decoder.to(number_format(self.device.type, precision))

    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
    ) -> Draw:
        """Draw one window a condition, frame by frame; see the parent."""
        try:
            return super().generate(condition, negative, seeds, context, sampling)
        except torch.cuda.OutOfMemoryError:
            # Whoever tries again with fewer rows needs what the recordings hold.
            self.forget_recordings()
            raise

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
        steps, dtype = tokens.shape[-1], self.decoder.dtype
        places = torch.arange(steps, device=self.device)
        logits: Tensor = self._reader(
            tokens, places, seen(places, steps, dtype), condition.states, heard(condition, dtype), None
        )
        return logits

    def _stepping(self, condition: Condition, steps: int) -> Step:
        cache, dtype = EncoderDecoderCache(DynamicCache(), DynamicCache()), self.decoder.dtype
        mask = heard(condition, dtype)
        read = 0

        def step(tokens: Tensor) -> Tensor:
            nonlocal read
            places = torch.arange(read, read + tokens.shape[-1], device=self.device)
            read += tokens.shape[-1]
            logits: Tensor = self._reader(tokens, places, seen(places, read, dtype), condition.states, mask, cache)
            return logits[:, :, -1]

        return step

    def _write(self, condition: Condition, known: Tensor, seeds: Sequence[int], sampling: FullSampling) -> Tensor:
        if not self.recorded:
            return super()._write(condition, known, seeds, sampling)
        condition = in_blocks(condition)
        return self._recording(condition, sampling).write(condition, known, seeds)

    def _recording(self, condition: Condition, sampling: FullSampling) -> Recording:
        """The one for these shapes and this way to draw."""
        rows, tokens = len(condition.states), condition.states.shape[-2]
        key = (rows, tokens, sampling.guidance, sampling.temperature, sampling.top_k, sampling.top_p)

        def make() -> Recording:
            read_step = self._compiled() if self.compiled else self._reader
            return Recording(self._reader, read_step, self.layout, rows, tokens, self.frames, sampling)

        return kept(self._recordings, key, make, MOST_RECORDINGS)

    def _compiled(self) -> Any:
        if self._compiled_reader is None:
            self._compiled_reader = torch.compile(self._reader)
        return self._compiled_reader


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
