"""What all language models of codec tokens share: text with pseudo-words, Eq. 3, windows drawn frame by frame.

A family fills in how its library encodes, decodes and foretells tokens; see `d2m_cli.backbones.musicgen` and
`d2m_cli.backbones.audiocraft`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from d2m_cli.backbones.base import (
    WINDOW_SECONDS,
    Condition,
    Draw,
    FullSampling,
    Identity,
    Sampling,
)
from d2m_cli.backbones.codebooks import Step, codebook_loss, delayed, inside, write_frames
from d2m_cli.backbones.reads_text import ReadsText
from d2m_cli.backbones.repeatable import repeatable
from d2m_cli.errors import MissingWeightsError
from d2m_cli.inversion.text_encoding import PromptReader

LONGEST_PROMPT = 512
"""Tokens of T5's training; MusicGen's prompts are far shorter."""


@dataclass(frozen=True)
class TokenLayout:
    """How a model writes tokens.

    Attributes
    ----------
    sample_rate
        Hz of the audio.
    channels
        1, or 2 for stereo.
    frame_rate
        Frames a second.
    delays
        Steps by which each codebook is delayed; as many as there are codebooks.
    cardinality
        Tokens of a codebook. The number behind the last stands for "nothing here", and before the first frame.
    """

    sample_rate: int
    channels: int
    frame_rate: float
    delays: tuple[int, ...]
    cardinality: int


class CodecLanguageBackbone(ReadsText, ABC):
    """A frozen language model of codec tokens; see :class:`d2m_cli.backbones.base.Backbone`.

    Parameters
    ----------
    identity
        Name, licence and what its captions spoke of.
    layout
        How it writes tokens.
    text_encoder
        T5's encoder, of transformers.
    tokenizer
        Its tokenizer.
    device
        Where it computes.
    layers
        At how many places the network reads the text.
    """

    window_seconds = WINDOW_SECONDS
    heeds = ("guidance", "temperature", "top_k", "top_p")

    def __init__(
        self, identity: Identity, layout: TokenLayout, text_encoder: Any, tokenizer: Any, device: str, layers: int
    ) -> None:
        self.name, self.licence, self.speaks_tempo = identity.name, identity.licence, identity.speaks_tempo
        self.tempo_words, self.default_sampling = identity.tempo_words, identity.sampling
        self.layout = layout
        self.device = torch.device(device)
        self.text_encoder, self.tokenizer = text_encoder, tokenizer
        self.condition_layers = layers
        self.sample_rate = layout.sample_rate
        self.text_width = int(text_encoder.config.d_model)
        self.frames = round(self.window_seconds * layout.frame_rate)
        if abs(self.frames / layout.frame_rate - self.window_seconds) > 1e-6:
            raise MissingWeightsError(
                f"{self.name}: its codec makes {layout.frame_rate} frames a second, of which {self.window_seconds} s "
                "hold no whole number. Use another model."
            )
        self.quantum_seconds = 1.0 / layout.frame_rate
        length = min(int(tokenizer.model_max_length), LONGEST_PROMPT)
        self._read_text = PromptReader(text_encoder, tokenizer, length, layers, self.name, pad=False)

    # What a family fills in.

    @property
    @abstractmethod
    def description(self) -> str:
        """One line that says which weights run on which device."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 over the weights files."""

    @property
    @abstractmethod
    def targets_settings(self) -> str:
        """Settings of the codec; see the protocol."""

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """The frozen networks, by name."""

    @abstractmethod
    def ready_for_training(self, precision: str) -> None:
        """Make backward passes fast; see the protocol."""

    @abstractmethod
    def _project(self, states: Tensor) -> Tensor:
        """States of the text encoder, (..., text_width), as the language model reads them."""

    @abstractmethod
    def _encode(self, audio: Tensor) -> Tensor:
        """(batch, channels, samples) audio on the device -> (batch, codebooks, frames) tokens."""

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor:
        """(batch, codebooks, frames) tokens -> (batch, channels, samples) audio."""

    @abstractmethod
    def _logits(self, tokens: Tensor, condition: Condition) -> Tensor:
        """(batch, codebooks, steps) tokens -> (batch, codebooks, steps, cardinality) of what follows each step."""

    @abstractmethod
    def _stepping(self, condition: Condition, steps: int) -> Step:
        """A reader that keeps what it has read, for at most so many steps."""

    # Text.

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Run the frozen T5 with pseudo-words in place of "@" and "*"; see the protocol.

        The empty prompt gives states of zeros and an empty mask: that is what these models were trained to read where
        there is no text, and what guidance steers away from.

        Raises
        ------
        EncoderMismatchError
            Vectors for another number of layers than the network has places that read the text.
        UsageError
            A placeholder lies behind what the text transformer reads.
        """
        # Training reads under autocast, and generation does not: both should read the same, and T5 overflows in fp16.
        with torch.autocast(self.device.type, enabled=False):
            text = self._read_text(prompts, pseudo_words)
            states = self._project(text.by_layers())
        spoken = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=self.device)
        mask = text.read & spoken[:, None]
        shown = mask[:, None] if states.ndim == 4 else mask
        states = states * shown[..., None].to(states.dtype)
        return Condition(states, mask)

    # Music.

    @torch.no_grad()
    def targets(self, audio: Tensor) -> Tensor:
        """Tokens of one window each: (batch, channels, samples) -> (batch, codebooks, frames) int16."""
        wanted = round(self.window_seconds * self.sample_rate)
        audio = nn.functional.pad(audio.float(), (0, max(0, wanted - audio.shape[-1])))[..., :wanted]
        # Every codebook of a published model has 2048 tokens: sixteen bits hold them in a quarter of the memory.
        return self._codes_of(audio).to(torch.int16)

    def _codes_of(self, audio: Tensor) -> Tensor:
        heard = audio.shape[1]
        if heard != self.layout.channels:
            audio = audio.mean(1, keepdim=True).expand(-1, self.layout.channels, -1)
        return self._encode(audio.to(self.device))

    def loss(
        self, targets: Tensor, condition: Condition, generator: object | None = None, focus: float = 0.0
    ) -> Tensor:
        """Eq. 3 for every window of a batch: (batch,); see the protocol. Nothing is drawn at random."""
        filler = self.layout.cardinality
        tokens = delayed(targets.to(self.device).long(), self.layout.delays, filler)
        before = torch.cat([torch.full_like(tokens[..., :1], filler), tokens[..., :-1]], -1)
        where = inside(targets.shape[-1], self.layout.delays)
        return codebook_loss(self._logits(before, condition), tokens, where)

    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
    ) -> Draw:
        """Draw one window a condition, frame by frame; see the protocol.

        A context goes in as the tokens that it was decoded from; one without tokens is encoded.
        """
        sampling = self.default_sampling.filling(sampling)
        both = condition if sampling.guidance == 1 else side_by_side(condition, negative)
        # A cache that is kept for the next window must not be made of tensors that only inference mode may change.
        with torch.inference_mode(False), torch.no_grad(), repeatable(self.device):
            codes = self._write(both, self._known(context, len(seeds)), list(seeds), sampling)
            audio = self._decode(codes).float().cpu()
        length = round(self.window_seconds * self.sample_rate)
        return Draw(audio[..., :length], self.sample_rate, codes.cpu(), self.layout.frame_rate)

    def _write(self, condition: Condition, known: Tensor, seeds: Sequence[int], sampling: FullSampling) -> Tensor:
        """Draw (batch, codebooks, frames) tokens that begin with `known`; with guidance a condition of both."""
        step = self._stepping(condition, self.frames + max(self.layout.delays))
        return write_frames(step, known, self.frames, self.layout.delays, self.layout.cardinality, seeds, sampling)

    def _known(self, context: Draw | None, batch: int) -> Tensor:
        if context is None:
            return torch.zeros(batch, len(self.layout.delays), 0, dtype=torch.int64, device=self.device)
        codes = context.codes if context.codes is not None else self._codes_of(context.audio.float())
        return codes.to(self.device).long()[..., : self.frames].expand(batch, -1, -1)


def side_by_side(condition: Condition, negative: Condition) -> Condition:
    """What to make, then as many rows of what to steer away from; one negative serves all rows.

    States are filled with zeros that the mask hides, where one side has more tokens than the other.
    """
    states, against = condition.states, negative.states
    if against.ndim < states.ndim:
        against = against[:, None]
    elif states.ndim < against.ndim:
        states = states[:, None]
    layers = max(states.shape[1], against.shape[1]) if states.ndim == 4 else None
    rows = len(states)
    parts, masks = [], []
    longest = max(states.shape[-2], against.shape[-2])
    for one, mask in ((states, condition.mask), (against, negative.mask)):
        if mask is None:
            mask = torch.ones(len(one), one.shape[-2], dtype=torch.bool, device=one.device)
        more = longest - one.shape[-2]
        one, mask = nn.functional.pad(one, (0, 0, 0, more)), nn.functional.pad(mask, (0, more))
        if layers is not None:
            one = one.expand(-1, layers, -1, -1)
        parts.append(one.expand(rows, *one.shape[1:]))
        masks.append(mask.expand(rows, -1))
    return Condition(torch.cat(parts), torch.cat(masks))
