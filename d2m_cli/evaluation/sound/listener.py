"""The listener that ships with d2m: a small network that hears genre, mood, instruments and wear in rendered music.

It serves where no published network is at hand: as the embedding of `d2m_cli.evaluation.sound.frechet` and as the
classifier of `d2m_cli.evaluation.genre.divergence`. It was trained on music that was composed and rendered for it
(docs/listener.md), never on recordings, so its figures compare systems of this project with each other and with nothing
else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from d2m_cli.backbones.spectrogram import SpectrogramConfig, mel_amplitude
from d2m_cli.errors import MissingWeightsError
from d2m_cli.evaluation.sound.embedding import Samples, mono_at, too_short
from d2m_cli.ground.genres import GENRE_CODES
from d2m_cli.ground.weights_path import weights_dir

GENRES = tuple(sorted(GENRE_CODES))
"""Codes of the ten AIST++ genres in the order of the probabilities."""
WEIGHTS = "listener.safetensors"
CONFIG = "listener.json"
STEP_COLUMNS = 8
"""Columns of the picture that become one step of the network."""


@dataclass(frozen=True)
class ListenerConfig:
    """What a listener hears, and the words it knows.

    Attributes
    ----------
    name
        Goes into the heads of tables.
    picture
        Its mel spectrogram; amplitude is raised to `picture.power`.
    width
        Numbers in an embedding.
    channels
        Width of the layers that look along time.
    dilations
        Steps between the taps of those layers, one layer each.
    frame_steps
        Steps that one embedding is the mean of.
    moods, leads, comps
        Words of the other heads: mood, lead instrument, accompanying instrument; "" for none.
    same_music
        Names of the backbones that learned from the music that it learned from.
    """

    name: str
    picture: SpectrogramConfig
    moods: tuple[str, ...]
    leads: tuple[str, ...]
    comps: tuple[str, ...]
    width: int = 64
    channels: int = 80
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    frame_steps: int = 16
    same_music: tuple[str, ...] = ()

    @property
    def heads(self) -> dict[str, int]:
        """Name and size of each head; "wear" is how blurred (a logit), noisy and dull a sound is."""
        return {
            "genre": len(GENRES),
            "mood": len(self.moods),
            "lead": len(self.leads),
            "comp": len(self.comps),
            "wear": 3,
        }

    @classmethod
    def load(cls, path: Path) -> ListenerConfig:
        """Read ``listener.json``; unknown keys raise TypeError."""
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["picture"] = SpectrogramConfig(**raw["picture"])
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        return cls(**values)

    def save(self, path: Path) -> None:
        """Write ``listener.json``; of the picture only what the listener uses."""
        used = (
            "sample_rate", "hop_length", "win_length", "n_fft", "n_mels", "min_frequency", "max_frequency", "power",
            "sample_scale",
        )  # fmt: skip
        picture = {key: getattr(self.picture, key) for key in used}
        rest = {key: value for key, value in vars(self).items() if key not in ("name", "picture")}
        path.write_text(json.dumps({"name": self.name, "picture": picture, **rest}, indent=2) + "\n")


class ListenerNetwork(nn.Module):
    """Convolutions over a picture without its loudness; one embedding every 80 ms, and linear heads on their mean."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        rows = config.picture.n_mels // 16
        self.picture = nn.Sequential(
            _convolution(1, 24, 7, (4, 4)),
            _convolution(24, 32, 3, (2, 2)),
            nn.Conv2d(32, 32, 3, (2, 1), 1, groups=32, bias=False),
            _convolution(32, 48, 1, (1, 1)),
            nn.Conv2d(48, 32, 1),
        )
        self.rows = nn.Sequential(
            nn.Conv1d(32 * rows, config.channels, 1, bias=False), nn.BatchNorm1d(config.channels), nn.ReLU()
        )
        self.time = nn.ModuleList(_look_along_time(config.channels, dilation) for dilation in config.dilations)
        self.embedding = nn.Conv1d(config.channels, config.width, 1)
        self.heads = nn.ModuleDict({name: nn.Linear(config.width, size) for name, size in config.heads.items()})

    def forward(self, amplitude: Tensor) -> Tensor:
        """Embed pictures.

        Parameters
        ----------
        amplitude
            (batch, n_mels, columns) mel amplitude to the power of the configuration, at any gain, lowest band first.

        Returns
        -------
        (batch, steps, width), a step for every 8 columns or part of them.
        """
        loudness = amplitude.square().mean((1, 2), keepdim=True).sqrt()
        x: Tensor = self.picture((amplitude / loudness.clamp(min=1e-8)).unsqueeze(1))
        x = self.rows(x.flatten(1, 2))
        for layer in self.time:
            x = x + layer(x)
        steps: Tensor = self.embedding(x)
        return steps.transpose(1, 2)


def _convolution(inside: int, outside: int, kernel: int, stride: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU()
    )


def _look_along_time(channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation, groups=channels, bias=False),
        nn.Conv1d(channels, channels, 1, bias=False),
        nn.BatchNorm1d(channels),
        nn.ReLU(),
    )


class Listener:
    """A trained listener: an `Embedder` and a `Classifier`.

    Parameters
    ----------
    network
        With its configuration.
    """

    classes = GENRES

    def __init__(self, network: ListenerNetwork) -> None:
        self.network = network.eval().requires_grad_(False)
        self.config = network.config

    @property
    def name(self) -> str:
        """Goes into the heads of tables."""
        return self.config.name

    @property
    def same_music(self) -> tuple[str, ...]:
        """Names of the backbones that learned from the music that it learned from."""
        return self.config.same_music

    @property
    def sample_rate(self) -> int:
        """Hz that the network hears."""
        return self.config.picture.sample_rate

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return self.config.width

    @classmethod
    def load(cls, folder: Path | None = None) -> Listener:
        """Load the listener that ships with d2m, or another one from a folder.

        Raises
        ------
        MissingWeightsError
            It is not there, or its files are not what they should be.
        """
        folder = weights_dir() / "listener" if folder is None else Path(folder)
        try:
            network = ListenerNetwork(ListenerConfig.load(folder / CONFIG))
            state = load_file(folder / WEIGHTS)
            # Counters of batches matter to training alone and are not stored.
            counters = {
                key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")
            }
            network.load_state_dict({key: value.float() for key, value in state.items()} | counters)
        except FileNotFoundError as error:
            raise MissingWeightsError(f"{error.filename or folder}: no such file; install d2m again") from error
        except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise MissingWeightsError(f"{folder}: not a listener ({error}); install d2m again") from error
        return cls(network)

    def embed(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        """One embedding for every 1.28 s.

        Parameters
        ----------
        samples
            (n,) or (channels, n), of any loudness.
        rate
            Hz.

        Returns
        -------
        (frames, 64); what is left at the end and shorter than 1.2 s belongs to no frame.

        Raises
        ------
        AudioError
            The sound is shorter than 1.2 s, or holds values that are not numbers.
        """
        steps = self._steps(samples, rate)
        count = self.config.frame_steps
        frames = steps[: len(steps) // count * count].reshape(-1, count, self.width).mean(1)
        return frames.numpy()

    def genres(self, samples: Samples, rate: int) -> NDArray[np.float64]:
        """How likely each of the ten AIST++ genres is, heard over the whole clip.

        Returns
        -------
        (10,) probabilities in the order of `GENRES`.

        Raises
        ------
        AudioError
            As in `embed`.
        """
        logits: Tensor = self.network.heads["genre"](self._steps(samples, rate).mean(0))
        return logits.double().softmax(0).numpy()

    @torch.no_grad()
    def _steps(self, samples: Samples, rate: int) -> Tensor:
        picture = self.config.picture
        mono = torch.from_numpy(mono_at(samples, rate, self.sample_rate))
        # The last step of a frame may be cut, for the published clips of "5.12 s" are 5.08 s long.
        shortest = (self.config.frame_steps - 1) * STEP_COLUMNS * picture.hop_length
        if len(mono) < shortest:
            raise too_short(self.name, len(mono) / self.sample_rate, shortest / self.sample_rate)
        amplitude = mel_amplitude(mono[None], picture) ** picture.power
        steps: Tensor = self.network(amplitude)[0]
        return steps
