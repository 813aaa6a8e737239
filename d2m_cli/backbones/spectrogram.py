"""Audio to spectrogram picture and back, as Riffusion defines it.

A picture holds amplitude on a mel scale: ``1 - (amplitude / maximum) ** 0.25``, so that silence is white (1), the
loudest is black (0), low frequencies lie at the bottom and one column is one hop. The numbers of
riffusion-model-v1 are the defaults of :class:`SpectrogramConfig`; another model stores its own in ``spectrogram.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from d2m_cli.backbones.griffin_lim import griffin_lim, thinned


@dataclass(frozen=True)
class SpectrogramConfig:
    """How audio becomes a picture, and how the picture is laid out for the autoencoder.

    Attributes
    ----------
    sample_rate
        Hz.
    hop_length, win_length, n_fft
        Samples; the window (Hann) is zero-padded to ``n_fft``.
    n_mels, min_frequency, max_frequency
        HTK mel bands without area normalisation, Hz.
    power
        Exponent that compresses amplitude.
    max_value
        Amplitude that is drawn black. Riffusion writes each picture's own into its EXIF tag 11080 and
        assumes 30e6 (16-bit sample scale) where there is none.
    sample_scale
        What a full-scale sample of 1.0 is multiplied by first (32767 for Riffusion, which works on 16-bit integers).
    columns
        Width of one window's picture.
    channels
        Colour channels of the autoencoder's input (Riffusion repeats grey three times).
    patch
        (rows, columns) of the picture that become channels of one autoencoder pixel; (1, 1) for Riffusion.
    position_frequencies
        Hz; where given, the UNet takes a ramp along each axis and a cosine and sine of time at each of these
        frequencies as further input channels beside the latents. Empty for Riffusion.
    griffin_lim_iterations
        Number of phase iterations; see :func:`d2m_cli.backbones.griffin_lim.griffin_lim`.
    """

    sample_rate: int = 44100
    hop_length: int = 441
    win_length: int = 4410
    n_fft: int = 17640
    n_mels: int = 512
    min_frequency: float = 0.0
    max_frequency: float = 10000.0
    power: float = 0.25
    max_value: float = 30e6
    sample_scale: float = 32767.0
    columns: int = 512
    channels: int = 3
    patch: tuple[int, int] = (1, 1)
    position_frequencies: tuple[float, ...] = ()
    griffin_lim_iterations: int = 24

    @property
    def window_seconds(self) -> float:
        """Length of one window in seconds."""
        return self.columns * self.hop_length / self.sample_rate

    @classmethod
    def load(cls, path: Path) -> SpectrogramConfig:
        """Read ``spectrogram.json``; unknown keys raise TypeError."""
        raw: dict[str, Any] = json.loads(path.read_text())
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        return cls(**values)

    def save(self, path: Path) -> None:
        """Write ``spectrogram.json``."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type in ("int", "float") and getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} must not be negative")
        if self.n_fft % 2 or not 0 < self.hop_length < self.win_length <= self.n_fft:
            raise ValueError(
                "n_fft must be even, and hop_length, win_length and n_fft rise, not "
                f"{self.hop_length}, {self.win_length} and {self.n_fft}"
            )


@lru_cache(maxsize=4)
def _mel_filters(config: SpectrogramConfig) -> Tensor:
    """(n_mels, n_fft // 2 + 1) triangular filters, HTK scale, peak 1."""
    # The values of librosa.filters.mel, without the second and a half of CPU time that it takes to import.
    lowest, highest = (2595.0 * np.log10(1.0 + end / 700.0) for end in (config.min_frequency, config.max_frequency))
    edges = 700.0 * (10.0 ** (np.linspace(lowest, highest, config.n_mels + 2) / 2595.0) - 1.0)
    widths = np.diff(edges)[:, None]
    above = np.fft.rfftfreq(config.n_fft, 1.0 / config.sample_rate) - edges[:, None]
    filters = np.maximum(np.minimum(above[:-2] / widths[:-1], -above[2:] / widths[1:]), 0.0).astype(np.float32)
    return torch.from_numpy(filters)


@lru_cache(maxsize=4)
def _inverse_filters(config: SpectrogramConfig, device: torch.device) -> Tensor:
    """(n_fft // 2 + 1, n_mels) least-squares inverse of the mel filters, the same on every device."""
    inverse: Tensor = torch.linalg.pinv(_mel_filters(config).double()).float()
    return inverse.to(device)


def _stft(samples: Tensor, config: SpectrogramConfig) -> Tensor:
    window = torch.hann_window(config.win_length, device=samples.device)
    spectrum: Tensor = torch.stft(
        samples, config.n_fft, config.hop_length, config.win_length, window, center=True, return_complex=True
    )
    return spectrum


def mel_amplitude(samples: Tensor, config: SpectrogramConfig) -> Tensor:
    """Mel-scaled magnitude of audio.

    Parameters
    ----------
    samples
        (batch, n) float32, full scale 1.

    Returns
    -------
    (batch, n_mels, 1 + n // hop_length) amplitude, lowest band first.
    """
    magnitude = _stft(samples * config.sample_scale, config).abs()
    amplitude: Tensor = _mel_filters(config).to(magnitude) @ magnitude
    return amplitude


def picture_from_audio(samples: Tensor, config: SpectrogramConfig, max_value: float | None = None) -> Tensor:
    """Draw audio as Riffusion's tools do.

    Parameters
    ----------
    samples
        (batch, n) float32, full scale 1.
    max_value
        Amplitude drawn black; the configuration's where None.

    Returns
    -------
    (batch, n_mels, 1 + n // hop_length) in 0 to 1, low frequencies in the last row.
    """
    amplitude = mel_amplitude(samples, config) / (max_value or config.max_value)
    return (1.0 - amplitude.clamp(0.0, 1.0) ** config.power).flip(-2)


def audio_from_picture(
    picture: Tensor,
    config: SpectrogramConfig,
    max_value: float | None = None,
    seeds: Sequence[int] = (0,),
    iterations: int | None = None,
) -> Tensor:
    """Sound pictures: inverse mel by least squares clipped at 0, then Griffin-Lim on as few frequencies as do.

    It is computed where the pictures lie: on a GPU for all of them at once, on a CPU one after the other.

    Parameters
    ----------
    picture
        (batch, n_mels, columns) in 0 to 1, as :func:`picture_from_audio` draws it.
    max_value
        Amplitude drawn black; the configuration's where None.
    seeds
        For each picture the seed of the random phases that it begins with, drawn on the CPU: the same on every device.
    iterations
        Rounds of Griffin-Lim; the configuration's where None.

    Returns
    -------
    (batch, columns * hop_length) float32 on the same device, full scale 1 (not limited).
    """
    if len(seeds) != len(picture):
        raise ValueError(f"{len(picture)} pictures need as many seeds, not {len(seeds)}")
    if picture.device.type == "cpu" and len(picture) > 1:
        # A core works no faster through a batch, whose phases take 36 MB each as Riffusion has them; and the sum
        # over mel bands is rounded by the shape, so that a row's bytes would hang on its neighbours.
        each = zip(picture[:, None], seeds, strict=True)
        rows = [audio_from_picture(row, config, max_value, [seed], iterations) for row, seed in each]
        return torch.cat(rows)
    amplitude = (1.0 - picture.float().clamp(0.0, 1.0)).flip(-2) ** (1.0 / config.power)
    amplitude = amplitude * (max_value or config.max_value)
    magnitude = (_inverse_filters(config, picture.device) @ amplitude).clamp(min=0.0)
    magnitude, size = thinned(magnitude, config.win_length)
    rounds = config.griffin_lim_iterations if iterations is None else iterations
    samples = griffin_lim(magnitude, size, config.win_length, config.hop_length, rounds, seeds)
    wanted = picture.shape[-1] * config.hop_length
    samples = torch.nn.functional.pad(samples, (0, max(0, wanted - samples.shape[-1])))
    return samples[..., :wanted] / config.sample_scale


def fold(picture: Tensor, config: SpectrogramConfig) -> Tensor:
    """Lay a picture out for the autoencoder: (batch, rows, columns) in 0 to 1 -> (batch, C, H, W) in -1 to 1."""
    scaled = (picture * 2.0 - 1.0).unsqueeze(1)
    rows, columns = config.patch
    if (rows, columns) == (1, 1):
        return scaled.expand(-1, config.channels, -1, -1)
    batch, _, height, width = scaled.shape
    blocks = scaled.reshape(batch, height // rows, rows, width // columns, columns)
    return blocks.permute(0, 2, 4, 1, 3).reshape(batch, rows * columns, height // rows, width // columns)


def unfold(tensor: Tensor, config: SpectrogramConfig) -> Tensor:
    """Undo :func:`fold`: (batch, C, H, W) in -1 to 1 -> (batch, rows, columns) in 0 to 1."""
    return (unpatched(tensor, config) * 0.5 + 0.5).clamp(0.0, 1.0)


def unpatched(tensor: Tensor, config: SpectrogramConfig) -> Tensor:
    """Patches back in their places: (batch, C, H, W) -> (batch, rows, columns), values as they are."""
    rows, columns = config.patch
    if (rows, columns) == (1, 1):
        return tensor.mean(1)
    batch, _, height, width = tensor.shape
    blocks = tensor.reshape(batch, rows, columns, height, width).permute(0, 3, 1, 4, 2)
    return blocks.reshape(batch, height * rows, width * columns)


def position_channels(height: int, width: int, seconds: float, config: SpectrogramConfig) -> Tensor:
    """Fixed input channels that tell the UNet where in time and frequency a latent lies.

    Returns
    -------
    (2 + 2 * len(position_frequencies), height, width), or (0, height, width) where the model takes none.
    """
    if not config.position_frequencies:
        return torch.zeros(0, height, width)
    time = (torch.arange(width) + 0.5) * seconds / width
    rows = [torch.linspace(-1, 1, height)[:, None].expand(height, width) if height > 1 else torch.zeros(1, width)]
    rows.append((time / seconds * 2 - 1).expand(height, width))
    for frequency in config.position_frequencies:
        angle = 2 * torch.pi * frequency * time
        rows += [angle.cos().expand(height, width), angle.sin().expand(height, width)]
    return torch.stack(rows)
