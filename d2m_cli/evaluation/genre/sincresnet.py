"""MS-SincResNet, the paper's genre classifier (Sec. 4.2), for weights as PeiChunChang/MS-SincResNet publishes them.

Chang, Chen and Lee, "MS-SincResnet: Joint learning of 1D and 2D kernels using multi-scale SincNet and ResNet for music
genre classification" (2021). Built after the published code, which pools by a mean before its last layer and has no
spatial pyramid; it hears 3 s at 16 kHz. The published weights were trained on GTZAN and know its ten genres, not those
of AIST++; weights of the same layout that were trained on AIST++ say so by `classes`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.evaluation.sound.embedding import Samples, mono_at, too_short
from d2m_cli.evaluation.sound.state_dict import UNREADABLE, read_state_dict
from d2m_cli.hub.store import locate, named_path

RATE = 16000
"""Hz."""
SECONDS = 3
HOP_SECONDS = 0.5
"""Between two windows of a clip, as in the published data loader."""
GTZAN = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""Classes of the published weights, in GTZAN's own order: their code numbers them by folders that it does not name."""
HEARING = ("windows", "dmd")
FULL_SCALE = 32768.0
"""The network was trained on 16-bit integers, which matters a little to its first normalisation."""
BATCH = 4

_ADVICE = (
    "Fetch them with 'd2m weights pull sincresnet', or MS-SincResNet.tar by hand from "
    "https://github.com/PeiChunChang/MS-SincResNet and give that file, or choose the classifier 'listener', which "
    "ships with d2m."
)


class SincConvolution(nn.Module):
    """Band-pass filters that are known by two numbers each: lowest frequency and width (Ravanelli and Bengio, 2018)."""

    least_low = 50.0
    least_width = 50.0

    def __init__(self, filters: int, taps: int) -> None:
        super().__init__()
        mel = torch.linspace(_mel(30.0), _mel(RATE / 2 - self.least_low - self.least_width), filters + 1)
        hertz = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
        self.taps = taps
        # Named as in the published weights.
        self.low_hz_ = nn.Parameter(hertz[:-1, None])
        self.band_hz_ = nn.Parameter(hertz.diff()[:, None])

    def filters(self) -> Tensor:
        """(filters, 1, taps) symmetric impulse responses, 1 in the middle."""
        low = self.least_low + self.low_hz_.abs()
        high = (low + self.least_width + self.band_hz_.abs()).clamp(self.least_low, RATE / 2)
        half = self.taps // 2
        time = torch.arange(-half, 0, device=low.device) / RATE
        # Half of a Hamming window, over as many points but not the same ones as a symmetric window has.
        points = torch.linspace(0, self.taps / 2 - 1, half, device=low.device)
        window = 0.54 - 0.46 * torch.cos(2 * math.pi * points / self.taps)
        passed = torch.sin(2 * math.pi * high * time) - torch.sin(2 * math.pi * low * time)
        left = passed / (math.pi * time) * window / (2 * (high - low))
        return torch.cat([left, torch.ones_like(low), left.flip(1)], 1).unsqueeze(1)

    def forward(self, sound: Tensor) -> Tensor:
        """Filter (batch, 1, n) samples: (batch, filters, n - taps + 1), as a convolution layer does.

        By way of the spectrum, which takes a tenth of the time with filters of this length.
        """
        length = sound.shape[-1]
        spectrum = torch.fft.rfft(sound, length) * torch.fft.rfft(self.filters()[:, 0], length).conj()
        # Products of spectra wrap around; what wraps lies behind the part that is kept.
        filtered: Tensor = torch.fft.irfft(spectrum, length)
        return filtered[..., : length - self.taps + 1]


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut (He et al., 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet-18, with the names of torchvision, which can't be asked for without its CUDA build."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class SincResNet(nn.Module):
    """The published network: three filter banks of different lengths draw the three colours of a picture."""

    def __init__(self, classes: int = len(GTZAN)) -> None:
        super().__init__()
        self.layerNorm = nn.LayerNorm([1, RATE * SECONDS])
        self.sincNet1 = _filter_bank(251)
        self.sincNet2 = _filter_bank(501)
        self.sincNet3 = _filter_bank(1001)
        self.resnet = nn.ModuleDict({"model": ResNet18(classes)})

    def forward(self, sound: Tensor) -> Tensor:
        """Logits (batch, classes) of (batch, 1, 48000) samples."""
        x = self.layerNorm(sound)
        pictures = torch.stack([self.sincNet1(x), self.sincNet2(x), self.sincNet3(x)], 1)
        logits: Tensor = self.resnet["model"](pictures)
        return logits


def _filter_bank(taps: int) -> nn.Sequential:
    return nn.Sequential(SincConvolution(160, taps), nn.BatchNorm1d(160), nn.ReLU(), nn.AdaptiveAvgPool1d(1024))


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


class MsSincResNet:
    """MS-SincResNet as a classifier of `d2m_cli.evaluation.genre.divergence`.

    Parameters
    ----------
    network
        With weights.
    classes
        Names of its genres; `GTZAN` for the published weights, for weights trained on AIST++
        `d2m_cli.evaluation.genre.divergence.GENRES`.
    hearing
        "windows": the mean of the probabilities of all windows of 3 s, half a second apart, as the published data
        loader cuts them. "dmd": what vtan05/dmd does, which stretches the whole clip to 30 s and hears the seconds 1.5
        to 4.5 of that, so that of a clip of 5 s it hears half a second, six times too slow.
    """

    same_music: tuple[str, ...] = ()

    def __init__(self, network: SincResNet, classes: tuple[str, ...] = GTZAN, hearing: str = "windows") -> None:
        if hearing not in HEARING:
            raise UsageError(f"unknown way of hearing {hearing!r}; choose one of {', '.join(HEARING)}")
        self.network = network.eval().requires_grad_(False)
        self.classes = classes
        self.hearing = hearing

    @property
    def name(self) -> str:
        """Goes into the heads of tables."""
        return "ms-sincresnet" if self.hearing == "windows" else f"ms-sincresnet, heard as {self.hearing}"

    @classmethod
    def load(
        cls, weights: Path | None = None, classes: tuple[str, ...] = GTZAN, hearing: str = "windows"
    ) -> MsSincResNet:
        """Load published weights.

        Parameters
        ----------
        weights
            A ``torch.save`` of ``{"state_dict": ...}`` or of the state dict alone; None for the one that
            ``d2m weights pull sincresnet`` fetched.
        classes, hearing
            As of the class.

        Raises
        ------
        MissingWeightsError
            There is no such file, or it holds something else.
        UsageError
            Its classes are not as many as `classes`.
        """
        path = locate("sincresnet") if weights is None else named_path(weights)
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such file. {_ADVICE}")
        try:
            state = read_state_dict(path)
            found = len(state["resnet.model.fc.bias"])
            network = SincResNet(found)
            network.load_state_dict(state)
        except (*UNREADABLE, KeyError) as error:
            raise MissingWeightsError(f"{path}: not the weights of MS-SincResNet ({error}). {_ADVICE}") from error
        if found != len(classes):
            raise UsageError(f"{path}: knows {found} genres, not the {len(classes)} of {', '.join(classes)}")
        return cls(network.float(), classes, hearing)

    @torch.no_grad()
    def genres(self, samples: Samples, rate: int) -> NDArray[np.float64]:
        """Probabilities of a clip.

        Parameters
        ----------
        samples
            (n,) or (channels, n), full scale 1.
        rate
            Hz.

        Returns
        -------
        (classes,)

        Raises
        ------
        AudioError
            The sound is shorter than 3 s (but for "dmd"), or holds values that are not numbers.
        """
        windows = torch.from_numpy(self._windows(samples, rate) * FULL_SCALE).unsqueeze(1)
        blocks = [windows[start : start + BATCH] for start in range(0, len(windows), BATCH)]
        logits = torch.cat([self.network(block) for block in blocks])
        return logits.double().softmax(1).mean(0).numpy()

    def _windows(self, samples: Samples, rate: int) -> NDArray[np.float32]:
        length = RATE * SECONDS
        if self.hearing == "dmd":
            from scipy.signal import resample

            whole = mono_at(samples, rate, rate)
            return np.asarray(resample(whole, 30 * RATE)[None, length // 2 : length // 2 + length], dtype=np.float32)
        sound = mono_at(samples, rate, RATE)
        if len(sound) < length:
            raise too_short(self.name, len(sound) / RATE, SECONDS)
        cut = np.lib.stride_tricks.sliding_window_view(sound, length)[:: round(HOP_SECONDS * RATE)]
        return np.ascontiguousarray(cut)
