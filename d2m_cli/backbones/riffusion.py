"""Riffusion, and every model in its layout: latent diffusion on spectrogram pictures (Sec. 3.1, Eq. 2).

The folder is Stable Diffusion's: ``unet``, ``vae``, ``text_encoder``, ``tokenizer``, ``scheduler``. A
``spectrogram.json`` beside them gives a picture format other than riffusion-model-v1's, as the embedded model has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from d2m_cli.backbones.base import Condition, Sampling, files_digest
from d2m_cli.backbones.spectrogram import (
    SpectrogramConfig,
    audio_from_picture,
    fold,
    picture_from_audio,
    position_channels,
    unfold,
)
from d2m_cli.errors import MissingWeightsError
from d2m_cli.inversion.placement import placed
from d2m_cli.inversion.prompt import tokenize

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    """diffusers' classes carry no types for their constructors."""
    try:
        return kind.from_pretrained(folder, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise MissingWeightsError(f"{folder}: can't be loaded ({error}). Fetch the model again.") from error


@dataclass(frozen=True)
class Identity:
    """What a backbone calls itself.

    Attributes
    ----------
    name, licence
        As in the protocol.
    speaks_tempo
        Whether its captions gave tempo and first beat in words.
    """

    name: str
    licence: str
    speaks_tempo: bool = False


class RiffusionBackbone:
    """A frozen latent diffusion model on spectrogram pictures; see :class:`d2m_cli.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        Folder in Stable Diffusion's layout.
    identity
        Name and licence.
    device
        "cpu" or "cuda".
    """

    def __init__(self, folder: Path, identity: Identity, device: str = "cpu") -> None:
        missing = [part for part in PARTS if not (folder / part).is_dir()]
        if missing:
            raise MissingWeightsError(
                f"{folder}: not a model in Stable Diffusion's layout: no folder {', '.join(missing)}"
            )
        self.name, self.licence, self.speaks_tempo = identity.name, identity.licence, identity.speaks_tempo
        self.folder = folder
        self.device = torch.device(device)
        # Half precision pays on a GPU only; the CPU computes in the type it is fast in.
        dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        options: dict[str, Any] = {"local_files_only": True, "torch_dtype": dtype}
        self.unet: Any = _load(UNet2DConditionModel, folder / "unet", **options)
        self.vae: Any = _load(AutoencoderKL, folder / "vae", **options)
        self.text_encoder: Any = _load(CLIPTextModel, folder / "text_encoder", local_files_only=True, dtype=dtype)
        self.tokenizer: Any = _load(CLIPTokenizer, folder / "tokenizer", local_files_only=True)
        for module in self.modules().values():
            module.to(self.device).eval().requires_grad_(False)
        scheduler: Any = _load(DDPMScheduler, folder / "scheduler", local_files_only=True)
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

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the weights files: the same on every device and in every precision."""
        return files_digest(self.folder, tuple(self.modules()))

    @cached_property
    def _places(self) -> Tensor:
        _, height, width = self.latent_shape
        places = position_channels(height, width, self.window_seconds, self.spectrogram)
        return places[None].to(self.device, self.unet.dtype)

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Run the frozen CLIP text transformer with pseudo-words in place of "@" and "*"; see the protocol."""
        words = tuple(pseudo_words)
        length = min(int(self.tokenizer.model_max_length), int(self.text_encoder.config.max_position_embeddings))
        ids, rows, columns, vectors = [], [], [], []
        for row, prompt in enumerate(prompts):
            numbers, places = tokenize(self.tokenizer, prompt, words, length)
            ids.append(numbers)
            for word, where in places.items():
                for place in where:
                    rows.append(row)
                    columns.append(place)
                    vectors.append(pseudo_words[word][row])
        tokens = torch.tensor(ids, device=self.device)
        stacked = torch.stack(vectors).to(self.device) if vectors else torch.zeros(0, self.text_width)
        with placed(self.text_encoder.get_input_embeddings(), rows, columns, stacked):
            states = self.text_encoder(tokens).last_hidden_state
        return Condition(states)

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

    def loss(self, targets: Tensor, condition: Condition, generator: object | None = None) -> Tensor:
        """Eq. 2 for every window of a batch, for models that predict noise or velocity: (batch,)."""
        random = generator if isinstance(generator, torch.Generator) else None
        noise = torch.randn(targets.shape, generator=random).to(targets)
        steps = torch.randint(0, self._noising.config.num_train_timesteps, (len(targets),), generator=random)
        steps = steps.to(targets.device)
        noisy = self._noising.add_noise(targets, noise, steps)
        kind = self._noising.config.prediction_type
        wanted = self._noising.get_velocity(targets, noise, steps) if kind == "v_prediction" else noise
        predicted = self._predict(noisy, steps, condition.states)
        return ((predicted - wanted) ** 2).float().mean((1, 2, 3))

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
        context: Tensor | None = None,
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Draw one window a condition with DPM-Solver++; see the protocol."""
        sampling = sampling or Sampling()
        solver: Any = DPMSolverMultistepScheduler
        scheduler = solver.from_config(self._scheduler_config, algorithm_type="dpmsolver++")
        scheduler.set_timesteps(sampling.steps, device=self.device)
        noise = torch.stack([torch.randn(self.latent_shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
        noise = noise.to(self.device, torch.float32)
        known, width = self._known(context)
        states = torch.cat([negative.states.expand_as(condition.states), condition.states])
        latents = noise * scheduler.init_noise_sigma
        for step in scheduler.timesteps:
            if width:
                latents[..., :width] = scheduler.add_noise(known, noise[..., :width], step[None])
            if sampling.guidance == 1:
                predicted = self._predict(latents, step, condition.states).float()
            else:
                without, given = self._predict(torch.cat([latents, latents]), step, states).float().chunk(2)
                predicted = without + sampling.guidance * (given - without)
            latents = scheduler.step(predicted, step, latents).prev_sample
        if width:
            latents[..., :width] = known
        decoded = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample
        picture = unfold(decoded.float(), self.spectrogram).cpu()
        audio = [audio_from_picture(p[None], self.spectrogram, seed=s) for p, s in zip(picture, seeds, strict=True)]
        return torch.stack(audio)

    def _known(self, context: Tensor | None) -> tuple[Tensor, int]:
        """Latents that the window must begin with, and how many columns of them are trusted."""
        if context is None:
            return torch.zeros(0), 0
        width = int(context.shape[-1] / self.sample_rate / self.quantum_seconds + 1e-6)
        # The autoencoder looks past its column: the last one has seen the silence behind the context.
        width = max(0, width - 1)
        return self.targets(context).float()[..., :width], width
