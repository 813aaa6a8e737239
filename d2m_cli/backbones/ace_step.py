"""ACE-Step 1.5 (arXiv 2602.00744): text to music of 48 kHz in stereo, up to ten minutes in one piece.

Its text encoder reads a caption and fields beside it: whole beats a minute, key, measure and seconds. It also sings;
here it is always told that the piece is instrumental.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from diffusers import AceStepPipeline
from torch import Tensor

from d2m_cli.backbones.ace_step_folder import GPU_PRECISION, NETWORKS, refusals
from d2m_cli.backbones.base import Condition, FullSampling
from d2m_cli.backbones.latent_audio import LatentAudioBackbone
from d2m_cli.backbones.sampling import noise_of
from d2m_cli.rhythm.sequence import Tempo

LYRICS, LANGUAGE = "[Instrumental]", "unknown"
"""What stands in place of words to sing."""
WHOLE_PROMPT = "# Instruction\n"
"""How a text begins that has its fields already."""
MEASURE = "4"
"""Beats a bar, as windows count them."""
_KEY = re.compile(r"\b([A-G])(#|b| sharp| flat)? (major|minor)\b")


class _ReadPipeline(AceStepPipeline):  # type: ignore[misc]
    """The pipeline over texts that are read already, and over latents that music begins with.

    diffusers' takes strings and sound, encodes those, and draws the latents of sound by chance.
    """

    read: tuple[Tensor, Tensor, Tensor, Tensor]
    source: Tensor | None = None

    def encode_prompt(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.read

    def prepare_src_latents(self, *args: Any, **named: Any) -> tuple[Tensor, int]:
        if named.get("src_audio") is None or self.source is None:
            theirs: Any = super()
            latents, length = theirs.prepare_src_latents(*args, **named)
            return latents, length
        return self.source, self.source.shape[1]


class AceStepBackbone(LatentAudioBackbone):
    """A frozen ACE-Step 1.5; see :class:`d2m_cli.backbones.latent_audio.LatentAudioBackbone`.

    A piece that goes on is repainted: what is there already is given as source, and held at every step.
    """

    pipelines = ("AceStepPipeline",)
    networks = NETWORKS
    gpu_precision = GPU_PRECISION
    longest_seconds = 600.0
    # diffusers' and the authors' own limit.
    read_tokens = 256

    def make_pipeline(self, parts: Mapping[str, Any]) -> Any:
        pipeline: Any = _ReadPipeline
        return pipeline(**parts)

    def frame_samples(self) -> int:
        return math.prod(self.vae.config.downsampling_ratios)

    def set_up(self, parts: Mapping[str, Any]) -> None:
        self.condition_encoder: Any = parts["condition_encoder"]
        self.latent_channels = int(self.transformer.config.audio_acoustic_hidden_dim)
        self.turbo = bool(self.pipeline.is_turbo)
        self.heeds = ("steps",) if self.turbo else ("steps", "guidance")
        self.refuses = refusals(self.turbo)

    def full_prompt(self, prompt: str, tempo: Tempo | None, seconds: float, goes_on: bool = False) -> str:
        """A caption with its fields, as the text encoder was trained to read them.

        Parameters
        ----------
        prompt
            The caption; a key that it names, as "A minor", goes into a field too. A text that has its fields already
            stays as it is.
        tempo
            For the field of beats a minute; None leaves it open.
        seconds
            Length of the piece.
        goes_on
            Whether it begins with what is there already.
        """
        if prompt.startswith(WHOLE_PROMPT):
            return prompt
        key = _KEY.search(prompt)
        text, _ = self.pipeline._format_prompt(
            prompt=prompt,
            audio_duration=seconds,
            instruction=self.pipeline._get_task_instruction("repaint" if goes_on else "text2music"),
            bpm=round(tempo.bpm) if tempo is not None else None,
            keyscale=_key_name(key) if key else None,
            timesignature=MEASURE if tempo is not None else None,
        )
        return str(text)

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Read captions, or captions with their fields; see the protocol.

        Raises
        ------
        EncoderMismatchError
            Vectors for several layers: the model reads the text at one place.
        UsageError
            A placeholder lies behind what the text transformer reads.
        """
        whole = [self.full_prompt(prompt, None, self.window_seconds) for prompt in prompts]
        return super().embed(whole, pseudo_words)

    def encode(self, audio: Tensor) -> Tensor:
        latents: Tensor = self.vae.encode(audio).latent_dist.mode()
        return latents

    @cached_property
    def _lyrics(self) -> Tensor:
        """(1, tokens, text_width) embeddings of what stands in place of words to sing."""
        _, text = self.pipeline._format_prompt(prompt="", lyrics=LYRICS, vocal_language=LANGUAGE)
        table = self.text_encoder.get_input_embeddings()
        ids = torch.tensor([self.tokenizer(text)["input_ids"]], device=table.weight.device)
        # What is kept may be of use for gradients later.
        with torch.inference_mode(False), torch.no_grad():
            embedded: Tensor = table(ids)
        return embedded.to(self.device)

    def _reading(self, condition: Condition) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the pipeline's `encode_prompt` returns: states and mask of the text, and of what is to be sung."""
        states, mask = condition.states, condition.mask
        if mask is None:
            mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        longest = int(mask.sum(1).max())
        lyrics = self._lyrics.expand(len(states), -1, -1)
        sung = torch.ones(lyrics.shape[:2], dtype=torch.bool, device=self.device)
        dtype = self.transformer.dtype
        return (
            states[:, :longest].to(self.device, dtype),
            mask[:, :longest].to(self.device),
            lyrics.to(dtype),
            sung,
        )

    def denoise(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        known: Tensor | None,
        seconds: float,
        sampling: FullSampling,
    ) -> Tensor:
        frames = self.frames_of(seconds)
        pipeline, like = self.pipeline, torch.zeros(0, device=self.device, dtype=self.transformer.dtype)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = noise_of((frames, self.latent_channels), generators, like)
        pipeline.read = self._reading(condition)
        given: dict[str, Any] = {}
        if known is not None:
            given = self._repainting(known.transpose(1, 2).to(like), noise)
        try:
            latents: Tensor = pipeline(
                prompt=[""] * len(seeds),
                # Half a frame less: the pipeline rounds up.
                audio_duration=(frames - 0.5) / self.latent_rate,
                num_inference_steps=sampling.steps,
                guidance_scale=1.0 if self.turbo else sampling.guidance,
                latents=noise,
                output_type="latent",
                **given,
            ).audios
        finally:
            # Where memory runs out, what it holds is needed for the next try.
            pipeline.source = None
        return latents.transpose(1, 2)

    def _repainting(self, known: Tensor, noise: Tensor) -> dict[str, Any]:
        """Options of the pipeline for music that begins with `known`, (batch, frames, channels)."""
        width = known.shape[1]
        source, _ = self.pipeline.prepare_src_latents(
            device=self.device, dtype=noise.dtype, batch_size=len(known), latent_length=noise.shape[1]
        )
        self.pipeline.source = torch.cat([known, source[:, width:]], 1)

        def hold(pipeline: Any, step: int, _time: float, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            latents, noisy = tensors["latents"], pipeline.scheduler.sigmas[step + 1].to(noise)
            latents[:, :width] = (1 - noisy) * known + noisy * noise[:, :width]
            return {"latents": latents}

        return {
            "task_type": "repaint",
            # Of the sound itself nothing is read: `source` stands for it.
            "src_audio": torch.zeros(self.channels, 1),
            # Half a frame more: the pipeline rounds down.
            "repainting_start": (width + 0.5) / self.latent_rate,
            "callback_on_step_end": hold,
        }

    def predict(self, noisy: Tensor, times: Tensor, condition: Condition) -> Tensor:
        dtype, count = self.transformer.dtype, len(noisy)
        text, text_mask, lyrics, sung = self._reading(condition)
        silence: Tensor = self.condition_encoder.silence_latent.to(self.device, dtype)
        context, _ = self.pipeline.prepare_src_latents(
            device=self.device, dtype=dtype, batch_size=count, latent_length=noisy.shape[-1]
        )
        read, _ = self.condition_encoder(
            text_hidden_states=text,
            text_attention_mask=text_mask,
            lyric_hidden_states=lyrics,
            lyric_attention_mask=sung,
            # The sound of half a minute's silence: no voice to take after.
            refer_audio_acoustic_hidden_states_packed=silence[:, : math.ceil(30 * self.latent_rate)].expand(
                count, -1, -1
            ),
            refer_audio_order_mask=torch.arange(count, device=self.device),
        )
        times = times.to(self.device, dtype)
        said: Tensor = self.transformer(
            hidden_states=noisy.transpose(1, 2).to(self.device, dtype),
            timestep=times,
            timestep_r=times,
            encoder_hidden_states=read,
            context_latents=torch.cat([context, torch.ones_like(context)], -1),
            return_dict=False,
        )[0]
        return said.transpose(1, 2)

    def passes(self, sampling: FullSampling) -> int:
        """How often a piece goes through the denoising network."""
        return sampling.steps if self.turbo else super().passes(sampling)


def _key_name(key: re.Match[str]) -> str:
    note, sign, mode = key.groups()
    return f"{note}{ {' sharp': '#', ' flat': 'b', None: ''}.get(sign, sign) } {mode}"
