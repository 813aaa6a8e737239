"""What was learned about the beat: from evidence to beat activation, and what activation says of tempo and phase.

The network is a small temporal convolution (16 channels, dilated as in Davies and Böck, "Temporal convolutional
networks for musical audio beat tracking", 2019) over the curves of `evidence`. It gives three curves: how much each
moment looks like a beat, like every second beat, and like a half beat. A grid of beats is scored by how well the
activation follows it: the first curve by four harmonics of the tempo at the grid's phase, the others by their strength
at half and twice the tempo, which tells a tempo from its octaves. The network was trained through that very score
(``weights/recipes/train_beats.py``), so that a softmax over all grids is the probability it learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.rhythm.evidence import CURVES, RATE

Array = NDArray[np.float64]

SHIPPED = Path("rhythm", "beats.safetensors")
"""Where the model that ships lies below the folder of weights."""
PHASES = 32
"""Phases of a grid that are told apart."""
SLOWEST, FASTEST = 60.0, 165.0
"""Beats per minute; fixed before anything was measured."""
HARMONICS = 4


@dataclass(frozen=True, repr=False)
class Lattice:
    """Scores of even grids over one stretch of time.

    Attributes
    ----------
    scores
        (f, `PHASES`) log likelihood up to a constant; the beat of phase p lies p / PHASES of a period after `centre`.
    frequencies
        (f,) beats a second.
    centre
        Middle of the stretch in seconds.
    seconds
        Its length.
    """

    scores: Array
    frequencies: Array
    centre: float
    seconds: float

    def __repr__(self) -> str:
        return f"Lattice(scores={self.scores.shape}, centre={self.centre:.2f}, seconds={self.seconds:.2f})"


@dataclass(frozen=True, repr=False)
class BeatModel:
    """The learned numbers.

    Attributes
    ----------
    members
        Networks that were trained alike from different random starts, whose scores are averaged. Each has by name
        ``inp`` and ``out`` weights and biases, ``conv.K`` likewise, ``harm`` (4,), ``power`` (2,) and ``scale``.
    prior
        Mean and standard deviation of log2 bpm in dance music.
    doubt
        Weights of `confidence`.
    """

    members: tuple[dict[str, Array], ...]
    prior: Array
    doubt: Array

    def __repr__(self) -> str:
        return f"BeatModel(members={len(self.members)})"

    def activation(self, values: Array) -> Array:
        """Activation (members, 3, n) of evidence (n, `CURVES`): beat, every second beat, half beat."""
        return np.stack([activation_of(member, values) for member in self.members])

    def lattice(self, activation: Array, start: float = 0.0) -> Lattice:
        """Scores of all even grids over activation (members, 3, n) whose first step lies at ``start`` seconds."""
        n = activation.shape[2]
        seconds = n / RATE
        size = max(4096, 1 << int(np.ceil(np.log2(6.0 * n))))
        low, high = (bpm / 60.0 / RATE * size for bpm in (SLOWEST, FASTEST))
        index = np.arange(int(np.ceil(low)), int(np.ceil(high)) + 1)
        scores = np.mean(
            [grid_scores(t, a, index, size) for t, a in zip(self.members, activation, strict=True)], axis=0
        )
        # Twice over the root of the length: so the score was scaled when it was learned, on 6 to 14 s.
        scores = scores * 2.0 / np.sqrt(seconds)
        return Lattice(scores, index * RATE / size, start + (n - 1) / 2 / RATE, seconds)

    def log_prior(self, frequencies: Array) -> Array:
        """Logarithm of how usual a tempo is in dance music, up to a constant: a bell on a scale of octaves."""
        mean, deviation = self.prior
        return np.asarray(-0.5 * ((np.log2(60.0 * frequencies) - mean) / deviation) ** 2, dtype=np.float64)

    def confidence(self, features: Array) -> float:
        """Probability that the beats are right (F1 of at least 0.6 at 70 ms), by logistic regression on features."""
        return float(1.0 / (1.0 + np.exp(-(self.doubt[0] + self.doubt[1:] @ features))))


def activation_of(t: dict[str, Array], values: Array) -> Array:
    """Activation (3, n) by one network."""
    x = t["inp.weight"][:, :, 0] @ values.T + t["inp.bias"][:, None]
    for k in range(sum(name.startswith("conv.") and name.endswith(".weight") for name in t)):
        x = x + np.maximum(dilated(x, t[f"conv.{k}.weight"], 2**k) + t[f"conv.{k}.bias"][:, None], 0.0)
    return np.asarray(t["out.weight"][:, :, 0] @ np.maximum(x, 0.0) + t["out.bias"][:, None], dtype=np.float64)


def grid_scores(t: dict[str, Array], activation: Array, index: NDArray[np.intp], size: int) -> Array:
    """Match of activation (3, n) with grids, (len(index), `PHASES`), before the length is taken into account.

    ``index`` are the grids' tempi in steps of a Fourier transform of ``size`` points.
    """
    n = activation.shape[1]
    spectrum = np.fft.rfft(activation - activation.mean(axis=1, keepdims=True), size) / RATE
    spectrum = spectrum * np.exp(1j * np.pi * np.arange(spectrum.shape[1]) * (n - 1) / size)
    angles = 2.0 * np.pi * np.arange(PHASES) / PHASES
    total = np.zeros((len(index), PHASES))
    for h in range(1, HARMONICS + 1):
        wave = spectrum[0, index * h] * t["harm"][h - 1]
        total += wave.real[:, None] * np.cos(h * angles) - wave.imag[:, None] * np.sin(h * angles)
    half, double = np.abs(spectrum[1, np.round(index / 2).astype(int)]), np.abs(spectrum[2, index * 2])
    total += (t["power"][0] * half + t["power"][1] * double)[:, None]
    return np.asarray(total * float(t["scale"]), dtype=np.float64)


def dilated(x: Array, weight: Array, dilation: int) -> Array:
    """Convolution of (c, n) with (out, c, taps), taps ``dilation`` steps apart, zeros beyond the ends."""
    taps = weight.shape[2]
    reach = taps // 2 * dilation
    padded = np.pad(x, ((0, 0), (reach, reach)))
    n = x.shape[1]
    return np.asarray(
        sum(weight[:, :, k] @ padded[:, k * dilation : k * dilation + n] for k in range(taps)), dtype=np.float64
    )


def load_beat_model(path: Path) -> BeatModel:
    """Model of a safetensors file; its numbers are stored in half precision.

    Raises
    ------
    ValueError
        The file was made for other curves.
    """
    from safetensors.numpy import load_file

    tensors = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    count = 1 + max(int(name.split(".")[0]) for name in tensors if name[0].isdigit())
    members = tuple(
        {name.split(".", 1)[1]: value for name, value in tensors.items() if name.startswith(f"{k}.")}
        for k in range(count)
    )
    curves = members[0]["inp.weight"].shape[1]
    if curves != len(CURVES):
        raise ValueError(f"{path} takes {curves} curves, and there are {len(CURVES)}")
    return BeatModel(members, tensors["prior"], tensors["doubt"])


@lru_cache(maxsize=1)
def shipped_model() -> BeatModel:
    """The model that ships with d2m."""
    return load_beat_model(weights_dir() / SHIPPED)
