"""Riffusion, and every model in its layout: latent diffusion on spectrogram pictures (Sec. 3.1, Eq. 2).

The folder is Stable Diffusion's: ``unet``, ``vae``, ``text_encoder``, ``tokenizer``, ``scheduler``. A
``spectrogram.json`` beside them gives a picture format other than riffusion-model-v1's, as the embedded model has.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from d2m_cli.backbones.base import (
    Condition,
    Draw,
    FullSampling,
    Identity,
    Sampling,
    number_format,
    require_tokenizer,
)
from d2m_cli.backbones.diffusers_files import load, load_network
from d2m_cli.backbones.reads_text import ReadsText
from d2m_cli.backbones.recording import kept
from d2m_cli.backbones.repeatable import repeatable
from d2m_cli.backbones.riffusion_steps import GuidedStep, steered
from d2m_cli.backbones.spectrogram import (
    SpectrogramConfig,
    audio_from_picture,
    fold,
    picture_from_audio,
    position_channels,
    unfold,
)
from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.digests import files_digest
from d2m_cli.inversion.text_encoding import PromptReader

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
PREDICTIONS = ("epsilon", "v_prediction")
SOUNDED = 8
"""Pictures that are decoded and sounded at once on a GPU: that fills it, and a picture takes more memory there than in
the UNet."""
DRAFT_ITERATIONS = 4
"""Phase iterations of a draft: enough to choose as full sound does (docs/alignment.md)."""
SMALL = 100_000_000
"""Parameters of a UNet below which a thread takes longer to wake than a layer to compute."""
MOST_RECORDINGS = 2
"""Recorded steps that are kept, each with what the UNet works in: in a run, the shapes of full and of last batches."""


def split_condition(unet: Any) -> int:
    """Teach a UNet to take text states of shape (batch, layers, tokens, width), one layer for each place that reads.

    The places are the cross-attention layers from the first to the last that a picture passes and, where the UNet has
    ``addition_embed_type="text"``, the pooling whose result scales and shifts its residual blocks, which comes last.
    Hooks there pick their layer of what is passed through the network. They hold no state, so that gradient
    checkpointing, autocast and every attention processor work as before, and 3-D states pass untouched.

    Returns
    -------
    How many places there are.
    """
    parts = [part for name in ("down_blocks", "mid_block", "up_blocks") if (part := getattr(unet, name, None))]
    blocks = [module for part in parts for module in part.modules() if isinstance(module, BasicTransformerBlock)]
    readers = [block.attn2 for block in blocks if block.attn2 is not None]
    for place, reader in enumerate(readers):
        reader.register_forward_pre_hook(_own_layer(place), with_kwargs=True)
    if unet.config.addition_embed_type != "text":
        return len(readers)
    unet.add_embedding.register_forward_pre_hook(_own_layer(len(readers)), with_kwargs=True)
    return len(readers) + 1


def _own_layer(place: int) -> Any:
    def own(value: Any) -> Any:
        return value[:, place] if isinstance(value, Tensor) and value.ndim == 4 else value

    def pick(
        _module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # The picture itself comes as (batch, pixels, channels): only text states have four axes here.
        return tuple(map(own, given)), {key: own(value) for key, value in named.items()}

    return pick


class RiffusionBackbone(ReadsText):
    """A frozen latent diffusion model on spectrogram pictures; see :class:`d2m_cli.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        Folder in Stable Diffusion's layout.
    identity
        Name and licence.
    device
        "cpu", "cuda", or "cuda:1" of several.
    precision
        "auto", "fp32", "bf16" or "fp16"; see `d2m_cli.backbones.base.number_format`.
    recorded
        Denoise by a step that works in memory that stays: on a GPU it is recorded as a CUDA graph and replayed
        (:class:`d2m_cli.backbones.riffusion_steps.GuidedStep`), one for each of the last two shapes of batch. None: on
        a GPU.
    """

    heeds = ("steps", "guidance")

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        device: str = "cpu",
        precision: str = "auto",
        recorded: bool | None = None,
    ) -> None:
        missing = [part for part in PARTS if not (folder / part).is_dir()]
        if missing:
            raise MissingWeightsError(
                f"{folder}: not a model in Stable Diffusion's layout: no folder {', '.join(missing)}"
            )
        self.name, self.licence, self.speaks_tempo = identity.name, identity.licence, identity.speaks_tempo
        self.tempo_words, self.default_sampling = identity.tempo_words, identity.sampling
        self.folder = folder
        self.device = torch.device(device)
        self.recorded = self.device.type == "cuda" if recorded is None else recorded
        self._recordings: OrderedDict[tuple[int, ...], GuidedStep] = OrderedDict()
        dtype = number_format(self.device.type, precision)
        self.unet: Any = load_network(UNet2DConditionModel, folder / "unet", torch_dtype=dtype)
        # A picture that overflows would be silence or noise; the autoencoder works once a window.
        self.vae: Any = load_network(AutoencoderKL, folder / "vae", torch_dtype=torch.float32)
        self.text_encoder: Any = load_network(CLIPTextModel, folder / "text_encoder", dtype=dtype)
        require_tokenizer(folder / "tokenizer", TOKENIZER_FILES)
        self.tokenizer: Any = load(CLIPTokenizer, folder / "tokenizer", local_files_only=True)
        for module in self.modules().values():
            module.to(self.device).eval().requires_grad_(False)
        if self.device.type == "cuda":
            # Convolutions there run on matrix units, which read a pixel's channels side by side.
            self.unet.to(memory_format=torch.channels_last)
            self.vae.to(memory_format=torch.channels_last)
        size = sum(values.numel() for values in self.unet.parameters())
        self.one_core = self.device.type == "cpu" and size < SMALL
        # To decode a large one's picture once more takes longer than is saved, and a GPU sounds in hardly any time.
        self.drafts = self.one_core
        self.condition_layers = split_condition(self.unet)
        length = min(int(self.tokenizer.model_max_length), int(self.text_encoder.config.max_position_embeddings))
        layers = self.condition_layers
        self._read_text = PromptReader(self.text_encoder, self.tokenizer, length, layers, self.name, pad=True)
        scheduler: Any = load(DDPMScheduler, folder / "scheduler", local_files_only=True)
        if scheduler.config.prediction_type not in PREDICTIONS:
            raise MissingWeightsError(
                f"{folder / 'scheduler'}: the model predicts {scheduler.config.prediction_type!r}; d2m knows models "
                f"that predict {' or '.join(PREDICTIONS)}. Use another model."
            )
        self._noising = scheduler
        self._scheduler_config = scheduler.config
        config = folder / "spectrogram.json"
        self.spectrogram = SpectrogramConfig.load(config) if config.is_file() else SpectrogramConfig()
        self.sample_rate = self.spectrogram.sample_rate
        self.window_seconds = self.spectrogram.window_seconds
        self.text_width = int(self.text_encoder.config.hidden_size)
        shrink = 2 ** (len(self.vae.config.block_out_channels) - 1)
        rows, columns = self.spectrogram.patch
        self.latent_shape = (
            int(self.vae.config.latent_channels),
            self.spectrogram.n_mels // (rows * shrink),
            self.spectrogram.columns // (columns * shrink),
        )
        self.quantum_seconds = self.window_seconds / self.latent_shape[2]
        self.description = f"{self.name} on {self.device} ({str(dtype).removeprefix('torch.')})"

    def modules(self) -> dict[str, torch.nn.Module]:
        """The frozen networks, by the folder each came from."""
        return {"unet": self.unet, "vae": self.vae, "text_encoder": self.text_encoder}

    def forget_recordings(self) -> None:
        """Give the GPU memory of recorded steps back; they are recorded anew when they are needed."""
        self._recordings.clear()

    def ready_for_training(self, precision: str) -> None:
        """Choose number format and attention for backward passes; see the protocol."""
        # They read weights in the number format of before.
        self._recordings.clear()
        if self.device.type == "cpu":
            # The backward pass of the fused kernel takes most of a step on a CPU; the plain one is twice as fast.
            self.unet.set_attn_processor(AttnProcessor())
        else:
            dtype = number_format(self.device.type, precision)
            self.unet.to(dtype)
            self.text_encoder.to(dtype)
            self.__dict__.pop("_places", None)
        self.description = f"{self.name} on {self.device} ({str(self.unet.dtype).removeprefix('torch.')})"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights files: the same on every device and in every precision."""
        return files_digest(self.folder, tuple(self.modules()))

    @cached_property
    def targets_settings(self) -> str:
        """Settings of picture and autoencoder; see the protocol."""
        # Names with a line in front are diffusers' own, and one of them says where the model lies.
        vae = {name: value for name, value in dict(self.vae.config).items() if not name.startswith("_")}
        return json.dumps([asdict(self.spectrogram), vae], sort_keys=True, default=str)

    @cached_property
    def _places(self) -> Tensor:
        _, height, width = self.latent_shape
        places = position_channels(height, width, self.window_seconds, self.spectrogram)
        return places[None].to(self.device, self.unet.dtype)

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Run the frozen CLIP text transformer with pseudo-words in place of "@" and "*"; see the protocol.

        Raises
        ------
        EncoderMismatchError
            Vectors for another number of layers than the UNet has places that read the text.
        UsageError
            A placeholder lies behind what the text transformer reads.
        """
        text = self._read_text(prompts, pseudo_words)
        return Condition(text.by_layers())

    @torch.no_grad()
    def targets(self, audio: Tensor) -> Tensor:
        """Latents of one window each: (batch, channels, samples) -> (batch, C, H, W), scaled for the UNet."""
        picture = picture_from_audio(self._whole_window(audio).mean(1), self.spectrogram)[
            ..., : self.spectrogram.columns
        ]
        posterior = self.vae.encode(fold(picture, self.spectrogram).to(self.device, self.vae.dtype)).latent_dist
        scaled: Tensor = posterior.mean * self.vae.config.scaling_factor
        return scaled

    def _whole_window(self, audio: Tensor) -> Tensor:
        wanted = round(self.window_seconds * self.sample_rate)
        return torch.nn.functional.pad(audio.float().cpu(), (0, max(0, wanted - audio.shape[-1])))[..., :wanted]

    def loss(
        self, targets: Tensor, condition: Condition, generator: object | None = None, focus: float = 0.0
    ) -> Tensor:
        """Eq. 2 for every window of a batch, for models that predict noise or velocity: (batch,); see the protocol."""
        random = generator if isinstance(generator, torch.Generator) else None
        noise = torch.randn(targets.shape, generator=random).to(targets)
        steps = self._draw_steps(len(targets), random, focus).to(targets.device)
        noisy = self._noising.add_noise(targets, noise, steps)
        kind = self._noising.config.prediction_type
        wanted = self._noising.get_velocity(targets, noise, steps) if kind == "v_prediction" else noise
        predicted = self._predict(noisy, steps, condition.states)
        return ((predicted - wanted) ** 2).float().mean((1, 2, 3))

    def _draw_steps(self, count: int, random: torch.Generator | None, focus: float) -> Tensor:
        total = int(self._noising.config.num_train_timesteps)
        if focus < 0:
            raise ValueError(f"focus must be 0 or more, not {focus}")
        if focus == 0:
            return torch.randint(0, total, (count,), generator=random)
        drawn = torch.rand(count, generator=random) ** (1 / (1 + focus))
        return (total * drawn).long().clamp(max=total - 1)

    def _predict(self, noisy: Tensor, steps: Tensor, states: Tensor) -> Tensor:
        places = self._places.expand(len(noisy), -1, -1, -1)
        inputs = torch.cat([noisy.to(self.unet.dtype), places], 1)
        out: Tensor = self.unet(inputs, steps, states.to(self.unet.dtype)).sample
        return out

    @torch.no_grad()
    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
        draft: bool = False,
    ) -> Draw:
        """Draw one window a condition with DPM-Solver++; see the protocol, and `makes_drafts` for drafts."""
        sampling = self.default_sampling.filling(sampling)
        noise = torch.stack([torch.randn(self.latent_shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
        against, wanted = _alike(negative.states, condition.states)
        states = wanted if sampling.guidance == 1 else torch.cat([against, wanted])
        try:
            with repeatable(self.device):
                latents = self._denoised(noise, states, self._known(context), sampling)
                return self._in_parts(latents, seeds, draft)
        except torch.cuda.OutOfMemoryError:
            # Whoever tries again with fewer rows needs what the recordings hold.
            self.forget_recordings()
            raise

    @torch.no_grad()
    def in_full(self, draft: Draw, seeds: Sequence[int]) -> Draw:
        """What was drawn with these seeds as a draft, sounded in full."""
        if draft.latents is None:
            raise ValueError("a draft has latents")
        with repeatable(self.device):
            return self._in_parts(draft.latents.to(self.device), seeds)

    def _denoised(self, noise: Tensor, states: Tensor, known: Tensor, sampling: FullSampling) -> Tensor:
        """Latents on the device, which begin with those known, from noise on the CPU."""
        solver: Any = DPMSolverMultistepScheduler
        scheduler = solver.from_config(self._scheduler_config, algorithm_type="dpmsolver++")
        # It looks its time steps up, for which it would wait for a GPU that had them: within a window the CPU should
        # only run ahead. So what is known is given its noise before the first step, too.
        scheduler.set_timesteps(sampling.steps)
        steps, width = scheduler.timesteps.to(self.device), known.shape[-1]
        if width:
            clean, share = known.cpu(), noise[..., :width]
            begun = torch.stack([scheduler.add_noise(clean, share, step[None]) for step in scheduler.timesteps])
            begun = begun.to(self.device)
        latents: Tensor = noise.to(self.device) * scheduler.init_noise_sigma
        predict = self._predictor(latents, states, sampling.guidance)
        for at, step in enumerate(scheduler.timesteps):
            if width:
                latents[..., :width] = begun[at]
            latents = scheduler.step(predict(latents, steps[at]), step, latents).prev_sample
        if width:
            latents[..., :width] = known
        return latents

    def _predictor(self, latents: Tensor, states: Tensor, guidance: float) -> Callable[[Tensor, Tensor], Tensor]:
        """What predicts for such latents and a time step."""
        if not self.recorded:
            return lambda noisy, step: steered(self._predict, noisy, step, states, guidance)
        states = states.to(self.unet.dtype)
        key = (len(latents), *states.shape)
        recording = kept(self._recordings, key, lambda: GuidedStep(self._predict, latents, states), MOST_RECORDINGS)
        recording.begin(states, guidance)
        return recording.predicted

    def _in_parts(self, latents: Tensor, seeds: Sequence[int], draft: bool = False) -> Draw:
        """What latents stand for, some rows at a time."""
        # On a CPU decoded one by one, which takes no longer: so a row's bytes do not hang on what is decoded beside it.
        most = SOUNDED if self.device.type == "cuda" else 1
        some = [slice(at, at + most) for at in range(0, len(seeds), most)]
        audio = torch.cat([self._sound(latents[rows], seeds[rows], draft) for rows in some])[:, None]
        return Draw(audio.cpu(), self.sample_rate, latents=latents.cpu(), latent_rate=1.0 / self.quantum_seconds)

    def _sound(self, latents: Tensor, seeds: Sequence[int], draft: bool = False) -> Tensor:
        """(batch, samples) sound of the pictures that latents stand for."""
        decoded = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample
        config = self.spectrogram
        most = DRAFT_ITERATIONS if draft else config.griffin_lim_iterations
        iterations = min(most, config.griffin_lim_iterations)
        return audio_from_picture(unfold(decoded.float(), config), config, seeds=seeds, iterations=iterations)

    def _known(self, context: Draw | None) -> Tensor:
        """(batch, C, H, W) latents that the window must begin with; those that are trusted, W may be 0."""
        if context is None:
            return torch.zeros(0)
        if context.latents is not None:
            return context.latents.to(self.device, torch.float32)[..., : self.latent_shape[-1]]
        width = int(context.audio.shape[-1] / self.sample_rate / self.quantum_seconds + 1e-6)
        # The autoencoder looks past its column: the last one has seen the silence behind the context.
        width = max(0, width - 1)
        return self.targets(context.audio).float()[..., :width]


def _alike(negative: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the same axes: one without layers says the same in all of them, and one negative serves a batch."""
    if negative.ndim < condition.ndim:
        negative = negative[:, None]
    elif condition.ndim < negative.ndim:
        condition = condition[:, None].expand(-1, negative.shape[1], -1, -1)
    return negative.expand_as(condition), condition
