"""What the models share that write sound in latent space by a pipeline of diffusers: ACE-Step and Stable Audio."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2m_cli.backbones.base import (
    WINDOW_SECONDS,
    Condition,
    Draw,
    FullSampling,
    Identity,
    Sampling,
    number_format,
    require_tokenizer,
)
from d2m_cli.backbones.diffusers_files import load, load_networks, part_class, read_index
from d2m_cli.backbones.gpu_room import check_room, offload
from d2m_cli.backbones.reads_text import ReadsText
from d2m_cli.backbones.repeatable import repeatable_convolutions
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.ground.digests import files_digest
from d2m_cli.ground.options import option
from d2m_cli.inversion.text_encoding import PromptReader

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model")
TOGETHER_SECONDS = 240.0
"""So much sound is denoised in one call at most: what a call holds in memory grows with it."""

AHEAD = 16
"""Latent frames behind the end that go through the autoencoder where there are any: it looks past its frame."""


class LatentAudioBackbone(ReadsText):
    """A frozen latent diffusion model of sound; see :class:`d2m_cli.backbones.base.Backbone`.

    It writes pieces of any length up to `longest_seconds` at once.

    Parameters
    ----------
    folder
        Folder in diffusers' layout.
    identity
        Name and licence.
    device
        "cpu" or "cuda".
    precision
        "auto", "fp32", "bf16" or "fp16"; see `d2m_cli.backbones.base.number_format`. "auto" on a GPU is what the
        model's authors run it in.
    offloaded
        Whether networks wait in main memory and come to the GPU when they compute.

    Attributes
    ----------
    longest_seconds
        The longest piece that it writes at once.
    latent_rate, latent_channels
        Latent frames a second, and numbers of each.
    pipeline
        diffusers' pipeline over the networks.

    Raises
    ------
    MissingWeightsError
        The folder holds no such model, or a part of it can't be loaded.
    UsageError
        The GPU has no room for it.
    """

    pipelines: tuple[str, ...] = ()
    """Names of diffusers' pipelines that the class knows."""
    networks: tuple[str, ...] = ()
    """The parts with weights."""
    gpu_precision = "fp16"
    heeds: tuple[str, ...] = ("steps", "guidance")
    # diffusers' pipelines guide above 1 alone.
    least_guidance = 1.0
    window_seconds = WINDOW_SECONDS
    condition_layers = 1
    longest_seconds: float
    latent_channels: int
    read_tokens: int

    def __init__(
        self, folder: Path, identity: Identity, device: str = "cpu", precision: str = "auto", offloaded: bool = False
    ) -> None:
        self.folder = folder
        self.name, self.licence, self.speaks_tempo = identity.name, identity.licence, identity.speaks_tempo
        self.tempo_words, self.default_sampling = identity.tempo_words, identity.sampling
        index = read_index(folder)
        if index.get("_class_name") not in self.pipelines:
            raise MissingWeightsError(
                f"{folder}: a model of {index.get('_class_name')!r}, not of {' or '.join(self.pipelines)}. Name "
                f"another model, or its own family with {option('backbone')}."
            )
        missing = [part for part in (*self.networks, "tokenizer", "scheduler") if not (folder / part).is_dir()]
        if missing:
            raise MissingWeightsError(f"{folder}: not a whole model: no folder {', '.join(missing)}. Fetch it again.")
        self.device = torch.device(device)
        on_gpu = self.device.type == "cuda"
        asked = self.gpu_precision if precision == "auto" and on_gpu else precision
        dtype = number_format(self.device.type, asked)
        check_room(folder, self.networks, self.name, self.device, dtype, offloaded)
        require_tokenizer(folder / "tokenizer", TOKENIZER_FILES)
        parts = load_networks(folder, index, self.networks, dtype)
        parts["tokenizer"] = load(part_class(folder, index, "tokenizer"), folder / "tokenizer", local_files_only=True)
        parts["scheduler"] = self.load_scheduler(folder, index)
        self.pipeline: Any = self.make_pipeline(parts)
        self.pipeline.set_progress_bar_config(disable=True)
        for part in self.networks:
            setattr(self, part, parts[part])
        self.text_encoder: Any
        self.transformer: Any
        self.vae: Any
        if hasattr(self.vae, "enable_tiling"):
            self.vae.enable_tiling()
        self.offloaded = offloaded
        where = offload(self.pipeline, self.networks, self.device) if offloaded else str(self.device)
        if not offloaded:
            self.pipeline.to(self.device)
        self.sample_rate = int(self.vae.config.sampling_rate)
        self.channels = int(self.vae.config.audio_channels)
        self.hop = self.frame_samples()
        self.latent_rate = self.sample_rate / self.hop
        self.quantum_seconds = 1.0 / self.latent_rate
        self.text_width = int(self.text_encoder.get_input_embeddings().weight.shape[1])
        self.set_up(parts)
        self._read_text = PromptReader(
            self.text_encoder, parts["tokenizer"], self.read_tokens, self.condition_layers, self.name, pad=False
        )
        self.tokenizer: Any = parts["tokenizer"]
        self.description = f"{self.name} on {where} ({str(dtype).removeprefix('torch.')})"
        self._step: tuple[float, float] | None = None

    # What a family says of itself.

    def load_scheduler(self, folder: Path, index: dict[str, Any]) -> Any:
        """The scheduler as the folder names it."""
        return load(part_class(folder, index, "scheduler"), folder / "scheduler", local_files_only=True)

    def make_pipeline(self, parts: Mapping[str, Any]) -> Any:
        """diffusers' pipeline over the loaded parts."""
        raise NotImplementedError

    def frame_samples(self) -> int:
        """Samples a latent frame."""
        raise NotImplementedError

    def set_up(self, parts: Mapping[str, Any]) -> None:
        """Set `longest_seconds`, `latent_channels` and `read_tokens`, and what else a family needs."""
        raise NotImplementedError

    def encode(self, audio: Tensor) -> Tensor:
        """(batch, channels, samples) -> (batch, latent channels, frames), without chance."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """(batch, latent channels, frames) -> (batch, channels, samples)."""
        audio: Tensor = self.vae.decode(latents).sample
        return audio

    def denoise(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        known: Tensor | None,
        seconds: float,
        sampling: FullSampling,
    ) -> Tensor:
        """(batch, latent channels, frames) of music, or some frames more that come behind it.

        `known` are frames that it begins with, (batch, latent channels, frames) likewise.
        """
        raise NotImplementedError

    def noisy(self, targets: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Latents on their way to noise at times of 0 to 1, (batch,), and what the network should say of them.

        Rectified flow, unless a family has it otherwise: a straight line, along which it says noise less music.
        """
        times = times[:, None, None]
        return (1 - times) * targets + times * noise, noise - targets

    def predict(self, noisy: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """What the network says of (batch, latent channels, frames) at times of (batch,)."""
        raise NotImplementedError

    def modules(self) -> dict[str, torch.nn.Module]:
        """The frozen networks, by the folder each came from."""
        return {part: getattr(self, part) for part in self.networks}

    def ready_for_training(self, precision: str) -> None:
        """Choose a number format for backward passes, and save memory; see the protocol.

        Raises
        ------
        UsageError
            The networks wait in main memory.
        """
        if self.offloaded:
            raise UsageError(f"{option('offload', True)} is for making music; training needs the networks on the GPU")
        if self.device.type == "cpu":
            return
        for module in self.modules().values():
            module.to(number_format(self.device.type, precision))
        self.transformer.enable_gradient_checkpointing()
        self.description = f"{self.name} on {self.device} ({str(self.transformer.dtype).removeprefix('torch.')})"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights files: the same on every device and in every precision."""
        return files_digest(self.folder, self.networks)

    @cached_property
    def targets_settings(self) -> str:
        """Settings of the autoencoder; see the protocol."""
        # Names with a line in front are diffusers' own, and one of them says where the model lies.
        vae = {name: value for name, value in dict(self.vae.config).items() if not name.startswith("_")}
        return json.dumps([self.window_seconds, vae], sort_keys=True, default=str)

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Run the frozen text transformer with pseudo-words in place of "@" and "*"; see the protocol.

        Raises
        ------
        EncoderMismatchError
            Vectors for several layers: the model reads the text at one place.
        UsageError
            A placeholder lies behind what the text transformer reads.
        """
        text = self._read_text(prompts, pseudo_words)
        # Of an encoder that waits in main memory the mask stays there.
        return Condition(text.states, text.read.to(text.states.device))

    def frames_of(self, seconds: float) -> int:
        """Latent frames that hold so many seconds."""
        return math.ceil(seconds * self.latent_rate - 1e-6)

    def seconds_of(self, frames: int) -> float:
        """The length that so many frames are told as: of a window its own, which may end within a frame."""
        return self.window_seconds if frames == self.frames_of(self.window_seconds) else frames / self.latent_rate

    @torch.no_grad()
    def targets(self, audio: Tensor) -> Tensor:
        """Latents of one window each: (batch, channels, samples) -> (batch, latent channels, frames)."""
        wanted = round(self.window_seconds * self.sample_rate)
        return self.encode(self._whole(audio[..., :wanted], self.frames_of(self.window_seconds)))

    def _whole(self, audio: Tensor, frames: int) -> Tensor:
        """Sound of so many frames in the autoencoder's channels, silent behind its end."""
        audio = audio.float()[..., : frames * self.hop]
        audio = torch.nn.functional.pad(audio, (0, frames * self.hop - audio.shape[-1]))
        if audio.shape[1] != self.channels:
            audio = audio.mean(1, keepdim=True).expand(-1, self.channels, -1)
        return audio.to(self.device, self.vae.dtype)

    def loss(
        self, targets: Tensor, condition: Condition, generator: object | None = None, focus: float = 0.0
    ) -> Tensor:
        """(batch,) mean squared error of what the network says: the counterpart of Eq. 2 for this model.

        Eq. 2 compares predicted with true noise at a step of 1000; here time runs from 0 to 1, and what is predicted is
        what the model was trained to say: for rectified flow noise less music, else the velocity of v-prediction.
        """
        if focus < 0:
            raise ValueError(f"focus must be 0 or more, not {focus}")
        random = generator if isinstance(generator, torch.Generator) else None
        noise = torch.randn(targets.shape, generator=random).to(targets.device)
        times = (torch.rand(len(targets), generator=random) ** (1 / (1 + focus))).to(targets.device)
        noisy, wanted = self.noisy(targets.float(), noise, times)
        predicted = self.predict(noisy, times, condition)
        return ((predicted.float() - wanted) ** 2).mean((1, 2))

    @torch.no_grad()
    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
        *,
        seconds: float | None = None,
    ) -> Draw:
        """Draw one piece a condition; see the protocol.

        Parameters
        ----------
        seconds
            Length of the pieces; None for one window. The other parameters are those of the protocol.

        Raises
        ------
        ValueError
            The length is above `longest_seconds`.
        """
        seconds = self.window_seconds if seconds is None else seconds
        if not 0.0 < seconds <= self.longest_seconds + 1e-6:
            raise ValueError(f"{self.name} writes {self.longest_seconds:g} s at once, not {seconds} s")
        sampling, known = self.default_sampling.filling(sampling), self.known(context, seconds)
        frames = self.frames_of(seconds)
        latents = torch.zeros(len(seeds), self.latent_channels, frames)
        audio = torch.zeros(len(seeds), self.channels, round(seconds * self.sample_rate))
        for rows in self._together(condition, len(seeds), seconds):
            some = Condition(condition.states[rows], condition.mask[rows] if condition.mask is not None else None)
            held = known[rows] if known is not None else None
            against = negative
            if len(negative.states) > 1:
                mask = negative.mask[rows] if negative.mask is not None else None
                against = Condition(negative.states[rows], mask)
            with repeatable_convolutions(self.device):
                made = self.denoise(some, against, [seeds[row] for row in rows], held, seconds, sampling)
                decoded = [self.decode(one[None].to(self.vae.dtype))[0, :, : audio.shape[-1]] for one in made]
            latents[rows] = made[..., :frames].float().cpu()
            audio[rows] = torch.stack(decoded).float().cpu()
        return Draw(audio, self.sample_rate, latents=latents, latent_rate=self.latent_rate)

    def _together(self, condition: Condition, count: int, seconds: float) -> Iterator[list[int]]:
        """Rows that go through the networks in one call: texts of one length, and not too much sound."""
        most = max(1, int(TOGETHER_SECONDS / seconds))
        lengths = condition.mask.sum(1).tolist() if condition.mask is not None else [0] * count
        for length in dict.fromkeys(lengths):
            rows = [row for row, own in enumerate(lengths) if own == length]
            for at in range(0, len(rows), most):
                yield rows[at : at + most]

    def known(self, context: Draw | None, seconds: float) -> Tensor | None:
        """(batch, latent channels, frames) that a piece begins with; the latents that music was decoded from, if any.

        Frames of sound from elsewhere are encoded, and the last one is left free: it has seen the silence behind.
        """
        if context is None:
            return None
        most = self.frames_of(seconds) - 1
        held: Tensor | None
        if context.latents is not None:
            held = context.latents[..., :most]
        else:
            count = int(context.audio.shape[-1] / self.hop + 1e-6)
            held = self.encode(self._whole(context.audio, count))[..., : min(count - 1, most)] if count else None
        return held.to(self.device, torch.float32) if held is not None and held.shape[-1] else None

    def forecast(self, seconds: float, sampling: FullSampling, takes: int) -> str:
        """How long a minute of music takes, by one step that is measured on the first piece; "" on a GPU.

        Parameters
        ----------
        seconds
            Length of a piece.
        sampling
            Steps and guidance.
        takes
            How many are drawn of each.
        """
        if self.device.type != "cpu":
            return ""
        if self._step is None:
            frames, condition = self.frames_of(seconds), self.embed(["music"], {})
            noise = torch.randn(1, self.latent_channels, frames, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                began = time.perf_counter()
                self.predict(noise, torch.ones(1), condition)
                self._step = (time.perf_counter() - began, seconds)
        (took, length), passes = self._step, self.passes(sampling)
        return (
            f"{self.name} on the CPU takes about {_time(took * passes * takes * 60 / length)} a minute of music, and "
            f"then the autoencoder ({takes} x {passes} passes of {took:.2g} s for {length:.1f} s, one of them measured)"
        )

    def passes(self, sampling: FullSampling) -> int:
        """How often a piece goes through the denoising network."""
        return sampling.steps * (2 if sampling.guidance > 1 else 1)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
