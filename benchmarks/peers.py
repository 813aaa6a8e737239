"""Music as one makes it with diffusers, transformers and torchaudio or librosa, one window after the other."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from d2m_cli.backbones.spectrogram import SpectrogramConfig, _inverse_filters, audio_from_picture

Sound = Callable[[Tensor], Tensor]
"""(1, rows, columns) picture in 0 to 1 to its (1, samples) sound."""


def sounds(config: SpectrogramConfig, device: str) -> dict[str, Sound]:
    """Ways to sound a picture, by name: a library's on the CPU, and where there is a GPU the same steps on it.

    torchaudio's, as riffusion's own code has it, where it is installed; else librosa's Griffin-Lim. librosa's own way
    back from mel bands, a non-negative fit, takes minutes at Riffusion's size: it is spared that, and given d2m's.
    """
    ways = {"torchaudio": torchaudio_sound(config)} if _there("torchaudio") else {"librosa": librosa_sound(config)}
    if device.startswith("cuda"):
        ways["sound on the GPU"] = lambda picture: audio_from_picture(picture.to(device), config)
    return ways


def torchaudio_sound(config: SpectrogramConfig) -> Sound:
    """By torchaudio's inverse of the mel bands and its Griffin-Lim."""
    from torchaudio.transforms import GriffinLim, InverseMelScale

    bins = config.n_fft // 2 + 1
    back = InverseMelScale(
        bins, config.n_mels, config.sample_rate, config.min_frequency, config.max_frequency, norm=None, mel_scale="htk"
    )
    phases = GriffinLim(
        config.n_fft, config.griffin_lim_iterations, config.win_length, config.hop_length, power=1.0, momentum=0.99
    )

    def sound(picture: Tensor) -> Tensor:
        heard: Tensor = phases(back(_amplitude(picture, config))) / config.sample_scale
        return heard

    return sound


def librosa_sound(config: SpectrogramConfig) -> Sound:
    """By least squares for the mel bands, and librosa's Griffin-Lim."""
    import librosa

    frames = {"n_fft": config.n_fft, "hop_length": config.hop_length, "win_length": config.win_length}
    inverse = _inverse_filters(config, torch.device("cpu"))

    def sound(picture: Tensor) -> Tensor:
        magnitude = (inverse @ _amplitude(picture, config)[0]).clamp(min=0).numpy()
        heard = librosa.griffinlim(
            magnitude, n_iter=config.griffin_lim_iterations, momentum=0.99, random_state=0, **frames
        )
        return torch.from_numpy(np.asarray(heard))[None] / config.sample_scale

    return sound


def _amplitude(picture: Tensor, config: SpectrogramConfig) -> Tensor:
    loud = (1 - picture.float().cpu().clamp(0, 1)).flip(-2)
    return loud ** (1 / config.power) * config.max_value


def _there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


class Pipeline:
    """diffusers' `StableDiffusionPipeline` over a folder, asked for one window at a time.

    Parameters
    ----------
    folder
        In Stable Diffusion's layout; the UNet takes latents alone.
    device, dtype
        Of all its networks.
    """

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        solver: Any = DPMSolverMultistepScheduler
        networks: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
        parts = {}
        for name, kind in networks.items():
            format = {"dtype" if name == "text_encoder" else "torch_dtype": dtype}
            parts[name] = kind.from_pretrained(folder / name, local_files_only=True, **format).to(device).eval()
        made: Any = StableDiffusionPipeline
        self._pipe = made(
            **parts, tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
            scheduler=solver.from_pretrained(folder / "scheduler", algorithm_type="dpmsolver++"),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        self._pipe.set_progress_bar_config(disable=True)

    def picture(self, prompt: str, seed: int, steps: int, guidance: float) -> Tensor:
        """(1, rows, columns) of the window of a seed, in 0 to 1."""
        generator = torch.Generator().manual_seed(seed)
        made = self._pipe(
            prompt, num_inference_steps=steps, guidance_scale=guidance, generator=generator, output_type="pt"
        )
        grey: Tensor = made.images.mean(1)
        return grey


class LanguageModel:
    """transformers' `MusicgenForConditionalGeneration` over a folder, asked for one window at a time.

    Parameters
    ----------
    folder
        In transformers' layout.
    device
        Of all its networks; in bf16 on a GPU, as T5 overflows in fp16.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoTokenizer, MusicgenForConditionalGeneration

        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        loaded: Any = MusicgenForConditionalGeneration
        self._device = device
        self._model = loaded.from_pretrained(folder, local_files_only=True, dtype=dtype).to(device).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    @torch.inference_mode()
    def sound(self, prompt: str, seed: int, seconds: float, guidance: float) -> Tensor:
        """(1, channels, samples) of the window of a seed."""
        torch.manual_seed(seed)
        config = self._model.config
        # The frames, the delay, and the one before the first.
        length = round(seconds * config.audio_encoder.frame_rate) + config.decoder.num_codebooks
        text = self._tokenizer([prompt], return_tensors="pt").to(self._device)
        heard: Tensor = self._model.generate(
            **text, do_sample=True, top_k=250, guidance_scale=guidance, max_length=length
        )
        return heard.float().cpu()


def one_by_one(window: Callable[[int], Tensor], seeds: Sequence[int]) -> list[Tensor]:
    """The windows of all seeds, each by a call of its own."""
    return [window(seed) for seed in seeds]
