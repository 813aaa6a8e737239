"""Stable Audio Open 1.0 (arXiv 2407.14358) and Stable Audio 3 (arXiv 2605.17991): text to stereo sound of 44.1 kHz.

Both are told the length of the piece. Of Stable Audio Open every piece is 47 s long, of which the wanted part sounds
and the rest is silent; Stable Audio 3 writes as much as is wanted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import EDMDPMSolverMultistepScheduler, StableAudio3Pipeline, StableAudioPipeline
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import Tensor

from d2m_cli.backbones.base import Backbone, Condition, FullSampling, Identity
from d2m_cli.backbones.diffusers_files import read_index
from d2m_cli.backbones.latent_audio import AHEAD, LatentAudioBackbone
from d2m_cli.backbones.sampling import noise_of
from d2m_cli.backbones.text_padding import filled_up
from d2m_cli.errors import MissingWeightsError

MOST_TOKENS = 512
"""Read where a tokenizer names no end."""
DECODED_FRAMES = 256
"""Latent frames that Stable Audio 3's autoencoder turns into sound at once: 24 s."""
DISTILLED = "this model of Stable Audio 3 is distilled: it knows no guidance"


def open_stable_audio(
    folder: Path, identity: Identity, device: str = "cpu", precision: str = "auto", offloaded: bool = False
) -> Backbone:
    """Stable Audio Open or Stable Audio 3: the folder's ``model_index.json`` says which.

    Raises
    ------
    MissingWeightsError
        The folder holds neither, or a part can't be loaded.
    UsageError
        The GPU has no room for it.
    """
    named = read_index(folder).get("_class_name")
    kind = StableAudio3Backbone if named in StableAudio3Backbone.pipelines else StableAudioOpenBackbone
    return kind(folder, identity, device, precision, offloaded)


class CosineScheduler(EDMDPMSolverMultistepScheduler):  # type: ignore[misc]
    """diffusers' ``CosineDPMSolverMultistepScheduler``, with noise from a generator for each piece.

    That one is the same solver with another measure of time, and draws its noise from a Brownian tree of torchsde, over
    steps that don't overlap: such noise is independent from step to step, so that torchsde is not needed.
    """

    def precondition_noise(self, sigma: Any) -> Tensor:
        """The time of a noise level, 0 to 1."""
        return torch.as_tensor(sigma).atan() / math.pi * 2


class StableAudioOpenBackbone(LatentAudioBackbone):
    """A frozen Stable Audio Open; see :class:`d2m_cli.backbones.latent_audio.LatentAudioBackbone`.

    It was not trained to go on from music; what a window must begin with is held at every step.
    """

    pipelines = ("StableAudioPipeline",)
    networks = ("vae", "text_encoder", "transformer", "projection_model")

    def load_scheduler(self, folder: Path, index: dict[str, Any]) -> Any:
        path = folder / "scheduler" / "scheduler_config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MissingWeightsError(f"{path}: can't be read ({error}). Fetch the model again.") from error
        if config.get("prediction_type") != "v_prediction":
            raise MissingWeightsError(
                f"{path}: the model predicts {config.get('prediction_type')!r}; d2m knows Stable Audio that predicts "
                "'v_prediction'. Use another model."
            )
        if config.get("_class_name") == "CosineDPMSolverMultistepScheduler":
            own = {name: value for name, value in config.items() if not name.startswith("_")}
            scheduler: Any = CosineScheduler
            return scheduler.from_config(own, algorithm_type="sde-dpmsolver++")
        return super().load_scheduler(folder, index)

    def make_pipeline(self, parts: Mapping[str, Any]) -> Any:
        pipeline: Any = StableAudioPipeline
        return pipeline(**parts)

    def frame_samples(self) -> int:
        return int(self.vae.hop_length)

    def set_up(self, parts: Mapping[str, Any]) -> None:
        self.projection_model: Any = parts["projection_model"]
        self.read_tokens = min(int(parts["tokenizer"].model_max_length), MOST_TOKENS)
        self.latent_channels = int(self.transformer.config.in_channels)
        self.whole_frames = int(self.transformer.config.sample_size)
        self.longest_seconds = min(self.whole_frames / self.latent_rate, float(self.projection_model.config.max_value))

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Read prompts; the empty one is read as the model learned it, as nothing at all. See the protocol.

        Raises
        ------
        EncoderMismatchError
            Vectors for several layers: the model reads the text at one place.
        UsageError
            A placeholder lies behind what the text transformer reads.
        """
        read = _padded(super().embed(prompts, pseudo_words), self.read_tokens)
        said = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=read.states.device)
        if read.mask is None or said.all():
            return read
        return Condition(read.states * said[:, None, None], read.mask & said[:, None])

    def encode(self, audio: Tensor) -> Tensor:
        latents: Tensor = self.vae.encode(audio).latent_dist.mode()
        return latents

    @cached_property
    def _silence(self) -> Tensor:
        """(1, channels, frames) of a whole silent piece."""
        with torch.inference_mode(False), torch.no_grad():
            return self.encode(self._whole(torch.zeros(1, self.channels, 1), self.whole_frames))

    def denoise(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        known: Tensor | None,
        seconds: float,
        sampling: FullSampling,
    ) -> Tensor:
        dtype, frames = self.transformer.dtype, self.frames_of(seconds)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        like = torch.zeros(0, device=self.device, dtype=dtype)
        noise = noise_of((self.latent_channels, self.whole_frames), generators, like)
        scheduler = self.pipeline.scheduler

        def hold(step: int, _time: Tensor, latents: Tensor) -> None:
            if known is not None:
                noisy = scheduler.sigmas[step + 1].to(noise)
                latents[..., : known.shape[-1]] = known.to(latents) + noisy * noise[..., : known.shape[-1]]

        given: dict[str, Any] = {}
        if sampling.guidance > 1 and negative.mask is not None and bool(negative.mask.any()):
            given["negative_prompt_embeds"] = negative.states.expand_as(condition.states).to(self.device, dtype)
            given["negative_attention_mask"] = negative.mask.expand(len(seeds), -1).to(self.device)
        latents: Tensor = self.pipeline(
            prompt_embeds=condition.states.to(self.device, dtype),
            attention_mask=condition.mask.to(self.device) if condition.mask is not None else None,
            audio_end_in_s=min(seconds, self.longest_seconds),
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            generator=generators,
            latents=noise,
            callback=hold,
            output_type="latent",
            **given,
        ).audios
        return latents[..., : frames + AHEAD]

    def noisy(self, targets: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Latents on their way to noise on a quarter circle, and their velocity on it (v-prediction)."""
        angle = times[:, None, None] * (math.pi / 2)
        return angle.cos() * targets + angle.sin() * noise, angle.cos() * noise - angle.sin() * targets

    def predict(self, noisy: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """What the network says of the sounding part of a piece; the rest of it is silence in as much noise."""
        dtype, count, frames = self.transformer.dtype, len(noisy), noisy.shape[-1]
        rest = self._silence[..., frames:].expand(count, -1, -1)
        # A noise of its own for what is not asked about, the same in each call.
        unasked = torch.randn(rest.shape, generator=torch.Generator().manual_seed(0)).to(rest)
        silent, _ = self.noisy(rest, unasked, times.to(rest))
        whole = torch.cat([noisy.to(self.device, dtype), silent.to(dtype)], -1)
        mask = condition.mask.to(self.device) if condition.mask is not None else None
        text = self.pipeline.encode_prompt(
            None, self.device, False, prompt_embeds=condition.states.to(self.device, dtype), attention_mask=mask
        )
        seconds = min(self.seconds_of(frames), self.longest_seconds)
        start, end = self.pipeline.encode_duration(0.0, seconds, self.device, False, count)
        total = torch.cat([start, end], 2)
        rotary = get_1d_rotary_pos_embed(
            self.pipeline.rotary_embed_dim,
            whole.shape[-1] + total.shape[1],
            use_real=True,
            repeat_interleave_real=False,
        )
        said: Tensor = self.transformer(
            whole,
            times.to(self.device, dtype),
            encoder_hidden_states=torch.cat([text, start, end], 1),
            global_hidden_states=total,
            rotary_embedding=rotary,
            return_dict=False,
        )[0]
        return said[..., :frames]


class StableAudio3Backbone(LatentAudioBackbone):
    """A frozen Stable Audio 3; see :class:`d2m_cli.backbones.latent_audio.LatentAudioBackbone`.

    A window that goes on is inpainted as diffusers' ``StableAudio3InpaintPipeline`` does it, by what it adds to each
    block, and what is there already is held at every step.
    """

    pipelines = ("StableAudio3Pipeline", "StableAudio3InpaintPipeline", "StableAudio3AudioToAudioPipeline")
    networks = ("vae", "text_encoder", "transformer", "duration_embedder")

    def make_pipeline(self, parts: Mapping[str, Any]) -> Any:
        pipeline: Any = StableAudio3Pipeline
        return pipeline(**parts)

    def frame_samples(self) -> int:
        return int(self.vae.downsampling_ratio)

    def set_up(self, parts: Mapping[str, Any]) -> None:
        self.duration_embedder: Any = parts["duration_embedder"]
        self.latent_channels = int(self.vae.config.latent_dim)
        # As its pipeline reads them.
        self.read_tokens = min(int(parts["tokenizer"].model_max_length), 256)
        self.longest_seconds = float(self.duration_embedder.config.max_val)
        self.distilled = bool(parts["scheduler"].config.stochastic_sampling)
        if self.distilled:
            self.heeds = ("steps",)
            self.refuses = {"guidance": DISTILLED, "negative_prompt": DISTILLED}

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Read prompts; see the protocol.

        Raises
        ------
        EncoderMismatchError
            Vectors for several layers: the model reads the text at one place.
        UsageError
            A placeholder lies behind what the text transformer reads.
        """
        return _padded(super().embed(prompts, pseudo_words), self.read_tokens)

    def encode(self, audio: Tensor) -> Tensor:
        latents: Tensor = self.vae.encode(audio).latents
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """See the parent; long pieces part by part, with as much beside each as the autoencoder looks at.

        It attends within a band, but its mask grows with the square of the length: for six minutes to 10 GiB.
        """
        config, count = self.vae.config, latents.shape[-1]
        beside = sum(config.encoder_transformer_depths) * int(config.sliding_window) + 1
        parts = []
        for start in range(0, count, DECODED_FRAMES):
            first, end = max(0, start - beside), min(count, start + DECODED_FRAMES)
            part = super().decode(latents[..., first : min(count, end + beside)])
            parts.append(part[..., (start - first) * self.hop : (end - first) * self.hop])
        return torch.cat(parts, -1)

    def denoise(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        known: Tensor | None,
        seconds: float,
        sampling: FullSampling,
    ) -> Tensor:
        dtype, frames = self.transformer.dtype, self.frames_of(seconds)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        like = torch.zeros(0, device=self.device, dtype=dtype)
        noise = noise_of((self.latent_channels, frames), generators, like)
        given: dict[str, Any] = {}
        guidance = 1.0 if self.distilled else sampling.guidance
        if guidance > 1:
            given["negative_prompt_embeds"] = negative.states.expand_as(condition.states).to(self.device, dtype)
            if negative.mask is not None:
                given["negative_encoder_attention_mask"] = negative.mask.expand(len(seeds), -1).long().to(self.device)
        handle = None
        if known is not None:
            width = known.shape[-1]
            known = known.to(like)

            def hold(pipeline: Any, step: int, _time: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
                latents, noisy = tensors["latents"], pipeline.scheduler.sigmas[step + 1].to(noise)
                latents[..., :width] = (1 - noisy) * known + noisy * noise[..., :width]
                return {"latents": latents}

            given["callback_on_step_end"] = hold
            handle = self.transformer.register_forward_pre_hook(_inpainting(known, frames), with_kwargs=True)
        try:
            latents: Tensor = self.pipeline(
                prompt_embeds=condition.states.to(self.device, dtype),
                encoder_attention_mask=condition.mask.long().to(self.device) if condition.mask is not None else None,
                duration=seconds,
                num_inference_steps=sampling.steps,
                guidance_scale=guidance,
                generator=generators,
                latents=noise,
                output_type="latent",
                **given,
            ).audios
        finally:
            if handle is not None:
                handle.remove()
        return latents

    def predict(self, noisy: Tensor, times: Tensor, condition: Condition) -> Tensor:
        dtype, count, frames = self.transformer.dtype, len(noisy), noisy.shape[-1]
        states = condition.states.to(self.device, dtype)
        mask = torch.ones(states.shape[:2], dtype=torch.long, device=self.device)
        if condition.mask is not None:
            mask = condition.mask.long().to(self.device)
        length = self.pipeline.encode_duration(self.seconds_of(frames), self.device, 1, count)
        context, context_mask = self.pipeline.prepare_cross_attention(states, mask, length)
        said: Tensor = self.transformer(
            noisy.to(self.device, dtype),
            times.to(self.device),
            encoder_hidden_states=context,
            global_hidden_states=length,
            encoder_attention_mask=context_mask,
            return_dict=False,
        )[0]
        return said

    def passes(self, sampling: FullSampling) -> int:
        """How often a piece goes through the denoising network."""
        return sampling.steps if self.distilled else super().passes(sampling)


def _padded(read: Condition, length: int) -> Condition:
    """Text states of a fixed number of tokens: these networks also attend to the places that hold no word."""
    filled = filled_up(read, length)
    assert filled.mask is not None
    return Condition(torch.where(filled.mask[..., None], filled.states, 0.0), filled.mask)


def _inpainting(known: Tensor, frames: int) -> Any:
    """A hook that tells the denoising network which frames are there already: their mask, and they themselves."""
    width = known.shape[-1]
    there = torch.nn.functional.pad(torch.ones_like(known[:, :1]), (0, frames - width))
    added = torch.cat([there, torch.nn.functional.pad(known, (0, frames - width))], 1)

    def tell(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # With guidance the batch is there twice.
        return given, {**named, "local_add_cond": added.repeat(len(given[0]) // len(added), 1, 1)}

    return tell
