"""MusicGen by audiocraft: published checkpoints, exported ones, and the runs of its solvers (Sec. 3.1, Eq. 3).

The networks are audiocraft's own, and so is all that they compute: see `d2m_cli.backbones.compat_audiocraft` for how it
runs beside current packages, and `d2m_cli.backbones.audiocraft_loading` for how its files are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2m_cli.backbones import compat_audiocraft
from d2m_cli.backbones.audiocraft_loading import hold_in, load_codec, load_language_model
from d2m_cli.backbones.base import Condition, Identity, number_format
from d2m_cli.backbones.codebooks import Step
from d2m_cli.backbones.codec_language import CodecLanguageBackbone, TokenLayout
from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.digests import file_sha256

Memory = list[dict[str, Tensor]]
"""What each part of the network keeps of the steps it has read."""


class AudiocraftBackbone(CodecLanguageBackbone):
    """A frozen `audiocraft.models.lm.LMModel` and its codec; see :class:`d2m_cli.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        From `d2m_cli.backbones.audiocraft_files.find`.
    identity
        Name and licence.
    device
        "cpu", "cuda", or "cuda:1" of several.
    precision
        Number format of the language model's transformer, as in `d2m_cli.backbones.base.number_format`. As in
        audiocraft, embeddings, norms and sums stay in fp32, and so do text encoder and codec.

    Raises
    ------
    MissingExtraError
        audiocraft is not installed.
    MissingWeightsError
        The folder, its codec or its text encoder are not there, are damaged, or make no model that d2m can use.
    """

    def __init__(self, folder: Path, identity: Identity, device: str = "cpu", precision: str = "auto") -> None:
        compat_audiocraft.prepare()
        self._dtype = number_format(device, precision)
        language_model = load_language_model(folder, device, self._dtype)
        codec = load_codec(folder, language_model, device)
        self.language_model, self.codec = language_model.network, codec.network
        self._files = [*language_model.files, *codec.files]
        self._codec_settings = codec.settings
        conditioners = self.language_model.condition_provider.conditioners
        (self._text,) = conditioners
        conditioner = conditioners[self._text]
        text_encoder = conditioner.t5.float().eval()
        text_encoder.set_attn_implementation("eager")
        for network in (self.language_model, self.codec, text_encoder):
            network.eval().requires_grad_(False)
        self._projection = conditioner.output_proj
        self._streaming = [part for part in self.language_model.modules() if hasattr(part, "_streaming_state")]
        layers = self.language_model.transformer.layers
        for place, layer in enumerate(layers):
            layer.register_forward_pre_hook(_own_states(place), with_kwargs=True)
        super().__init__(
            identity,
            TokenLayout(
                sample_rate=int(self.codec.sample_rate),
                channels=int(self.codec.channels),
                frame_rate=float(self.codec.frame_rate),
                delays=tuple(self.language_model.pattern_provider.delays),
                cardinality=int(self.language_model.card),
            ),
            text_encoder,
            conditioner.t5_tokenizer,
            device,
            len(layers),
        )

    @property
    def description(self) -> str:
        """One line that says which weights run on which device."""
        return f"{self.name} on {self.device} by audiocraft ({str(self._dtype).removeprefix('torch.')})"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the files of language model, codec and text encoder: the same in every precision."""
        digest = sha256()
        for path in self._files:
            digest.update(f"{path.name} {file_sha256(path)}\n".encode())
        return digest.hexdigest()

    @cached_property
    def targets_settings(self) -> str:
        """Settings of the codec; see the protocol."""
        settings = [self.layout.channels, len(self.layout.delays), self._codec_settings]
        return json.dumps(settings, sort_keys=True, default=str)

    def modules(self) -> dict[str, nn.Module]:
        """The frozen networks, by the part of the model that each is."""
        return {"language_model": self.language_model, "text_encoder": self.text_encoder, "codec": self.codec}

    def ready_for_training(self, precision: str) -> None:
        """Hold the transformer in the number format that a training computes in; see the protocol."""
        if self.device.type != "cpu":
            self._dtype = number_format(self.device.type, precision)
            hold_in(self.language_model.transformer, self._dtype)

    def _project(self, states: Tensor) -> Tensor:
        return self._projection(states.to(self._projection.weight))  # type: ignore[no-any-return]

    def _encode(self, audio: Tensor) -> Tensor:
        codes, scale = self.codec.encode(audio)
        if scale is not None:
            raise MissingWeightsError(
                f"{self._files[0]}: its codec keeps the loudness beside the tokens, which no language model writes. "
                "Use another model."
            )
        return codes  # type: ignore[no-any-return]

    def _decode(self, codes: Tensor) -> Tensor:
        return self.codec.decode(codes, None)  # type: ignore[no-any-return]

    def _logits(self, tokens: Tensor, condition: Condition) -> Tensor:
        groups = by_length(condition)
        return _in_order(groups, [self._read(tokens[group.rows], group) for group in groups])

    def _stepping(self, condition: Condition, steps: int) -> Step:
        groups = by_length(condition)
        memories: list[Memory] = [[{} for _ in self._streaming] for _ in groups]

        def step(tokens: Tensor) -> Tensor:
            parts = []
            for group, memory in zip(groups, memories, strict=True):
                with self._remembering(memory):
                    parts.append(self._read(tokens[group.rows], group)[:, :, -1])
            return _in_order(groups, parts)

        return step

    @contextmanager
    def _remembering(self, memory: Memory) -> Iterator[None]:
        """Let the network go on from what it has read, and take the memory away again.

        `audiocraft.modules.streaming` can do the same, but walks through the whole network five times for it, at each
        step: that takes a third of the time of a small model.
        """
        try:
            for module, kept in zip(self._streaming, memory, strict=True):
                module._is_streaming, module._streaming_state = True, kept
            yield
        finally:
            for module in self._streaming:
                module._is_streaming, module._streaming_state = False, {}

    def _read(self, tokens: Tensor, group: Alike) -> Tensor:
        mask = torch.ones(group.states.shape[0], group.states.shape[-2], device=self.device)
        with self._number_format():
            return self.language_model(tokens, [], {self._text: (group.states, mask)})  # type: ignore[no-any-return]

    def _number_format(self) -> AbstractContextManager[object]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)


@dataclass(frozen=True, repr=False)
class Alike:
    """Rows of a batch whose texts are of one length.

    Attributes
    ----------
    rows
        (n,) int64, where they stand in the batch.
    states
        (n, tokens, width) or (n, layers, tokens, width), without padding.
    """

    rows: Tensor
    states: Tensor


def by_length(condition: Condition) -> list[Alike]:
    """Split a batch by the length of its texts.

    audiocraft's cross-attention hides nothing: padding would draw attention away from the text, so that a row's music
    hung on the texts beside it. A row without text holds zeros, which say the same in any number, and goes along with
    others.
    """
    states, mask = condition.states, condition.mask
    if mask is None:
        return [Alike(torch.arange(len(states), device=states.device), states)]
    lengths = mask.sum(1)
    lengths = torch.where(lengths == 0, lengths.max().clamp(min=1), lengths)
    groups = []
    for length in sorted(set(lengths.tolist())):
        rows = (lengths == length).nonzero()[:, 0]
        groups.append(Alike(rows, states[rows][..., :length, :]))
    return groups


def _in_order(groups: Sequence[Alike], parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.cat(list(parts))[torch.cat([group.rows for group in groups]).argsort()]


def _own_states(place: int) -> Callable[..., Any]:
    """A hook that gives a layer its own text states, where there are states for each layer."""

    def pick(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        states = kwargs["cross_attention_src"]
        return args, {**kwargs, "cross_attention_src": states[:, place] if states.ndim == 4 else states}

    return pick
