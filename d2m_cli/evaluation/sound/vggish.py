"""VGGish, the embedding of the paper's FAD (Sec. 4.2), for weights as harritaylor/torchvggish publishes them.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (2017). As in the public tools that compute FAD
(gudgud96/frechet-audio-distance, microsoft/fadtk), an embedding is what comes before the last ReLU, without the PCA and
8-bit steps of AudioSet's own embeddings. Those tools resample with resampy or SoX, d2m with a polyphase filter, which
differs above 7 kHz alone.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from d2m_cli.errors import MissingWeightsError
from d2m_cli.evaluation.sound.embedding import Samples, mono_at, too_short
from d2m_cli.evaluation.sound.state_dict import UNREADABLE, read_state_dict
from d2m_cli.hub.store import locate_if_here, named_path

RATE = 16000
"""Hz."""
WINDOW, HOP, FFT = 400, 160, 512
"""Samples: 25 ms every 10 ms, zero-padded to a power of two."""
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
"""Mel bands, and their lowest and highest edge in Hz."""
LOG_OFFSET = 0.01
PATCH = 96
"""Rows of the log-mel spectrogram in one patch: 0.96 s; patches don't overlap."""
WIDTH = 128
SHORTEST = WINDOW + (PATCH - 1) * HOP
"""Samples of one patch."""
FILE_NAME = "vggish-10086976.pth"
BATCH = 64

_ADVICE = (
    "Fetch them with 'd2m weights pull vggish', or by hand from "
    f"https://github.com/harritaylor/torchvggish/releases/download/v0.1/{FILE_NAME} (275 MB) and give that file as the "
    "weights of vggish, or put it into torch's folder for checkpoints, {folder}."
)


class VggishNetwork(nn.Module):
    """Six convolutions and three fully connected layers, 72.1 million parameters, named as torchvggish names them."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for block in ((64,), (128,), (256, 256), (512, 512)):
            for wanted in block:
                layers += [nn.Conv2d(channels, wanted, 3, padding=1), nn.ReLU()]
                channels = wanted
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(channels * (PATCH // 16) * (BANDS // 16), 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, WIDTH),
        )  # fmt: skip

    def forward(self, patches: Tensor) -> Tensor:
        """Embed (batch, 96, 64) log-mel patches as (batch, 128)."""
        maps = self.features(patches.unsqueeze(1))
        # TensorFlow, where the weights come from, keeps channels last.
        embedded: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
        return embedded


class Vggish:
    """VGGish as an embedder of `d2m_cli.evaluation.sound.embedding`.

    Parameters
    ----------
    network
        With weights.
    """

    name = "vggish"
    sample_rate = RATE
    width = WIDTH

    def __init__(self, network: VggishNetwork) -> None:
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, weights: Path | None = None) -> Vggish:
        """Load published weights.

        Parameters
        ----------
        weights
            A state dict of torchvggish, .pth or .safetensors, alone or inside a larger one; None for the one that
            ``d2m weights pull vggish`` fetched, else the file of the published name in torch's folder for checkpoints,
            where torch.hub leaves it.

        Raises
        ------
        MissingWeightsError
            There is no such file, or it holds something else.
        """
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        path = (locate_if_here("vggish") or folder / FILE_NAME) if weights is None else named_path(weights)
        advice = _ADVICE.format(folder=folder)
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such file. {advice}")
        # Made without values first: filling 72 million parameters with random numbers takes longer than reading them.
        with torch.device("meta"):
            network = VggishNetwork()
        try:
            network.load_state_dict(_network_state(read_state_dict(path)), assign=True)
        except UNREADABLE as error:
            raise MissingWeightsError(f"{path}: not the weights of VGGish ({error}). {advice}") from error
        return cls(network.float())

    @torch.no_grad()
    def embed(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        """One embedding for every 0.96 s.

        Parameters
        ----------
        samples
            (n,) or (channels, n), full scale 1.
        rate
            Hz.

        Returns
        -------
        (frames, 128)

        Raises
        ------
        AudioError
            The sound is shorter than 0.975 s, or holds values that are not numbers.
        """
        patches = log_mel_patches(mono_at(samples, rate, RATE))
        if not len(patches):
            seconds = np.shape(samples)[-1] / rate
            raise too_short(self.name, seconds, SHORTEST / RATE)
        blocks = [patches[start : start + BATCH] for start in range(0, len(patches), BATCH)]
        return torch.cat([self.network(torch.from_numpy(block)) for block in blocks]).numpy()


def log_mel_patches(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The input of VGGish: (n,) samples at 16 kHz as (patches, 96, 64) logarithms of mel-scaled magnitudes."""
    if len(samples) < SHORTEST:
        return np.zeros((0, PATCH, BANDS), np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    magnitude = np.abs(np.fft.rfft(rows * window, FFT))
    log_mel = np.log(magnitude @ mel_weights() + LOG_OFFSET)
    patches = len(log_mel) // PATCH
    return log_mel[: patches * PATCH].reshape(patches, PATCH, BANDS).astype(np.float32)


@lru_cache(maxsize=1)
def mel_weights() -> NDArray[np.float64]:
    """(257, 64) triangles, straight on the mel scale, unlike librosa's, which are so in Hz; no band takes DC."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    lowest, highest = mel(np.array([LOWEST, HIGHEST])).tolist()
    edges = np.linspace(lowest, highest, BANDS + 2)
    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.asarray(np.maximum(0.0, np.minimum(rising, falling)), dtype=np.float64)
    weights[0] = 0.0
    return weights


def _network_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's part of a state dict, without the PCA that torchvggish keeps beside it, and without others."""
    first = "features.0.weight"
    prefixes = [key.removesuffix(first) for key in state if key.endswith(first)]
    if len(prefixes) != 1:
        raise ValueError(f"it has {len(prefixes)} tensors named {first!r}")
    own = (prefixes[0] + "features.", prefixes[0] + "embeddings.")
    return {key.removeprefix(prefixes[0]): value for key, value in state.items() if key.startswith(own)}
