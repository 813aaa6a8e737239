"""The protocol that every text-to-music model fulfils.

Training, generation and tests know only what stands here. A family is one file that implements :class:`Backbone`
and one line in :mod:`d2m_cli.backbones.registry`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from d2m_cli.weights_path import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from d2m_cli.rhythm.sequence import Tempo


@dataclass(frozen=True)
class Sampling:
    """How music is drawn from a backbone.

    Attributes
    ----------
    steps
        Denoising steps (diffusion families; DPM-Solver++).
    guidance
        Classifier-free guidance scale; 1 switches it off.
    """

    steps: int = 20
    guidance: float = 3.0


@dataclass(frozen=True, repr=False)
class Condition:
    """Text states of a batch of prompts, pseudo-words inside.

    Attributes
    ----------
    states
        (batch, tokens, text_width) output of the frozen text transformer; (batch, layers, tokens, text_width) where
        the pseudo-words have vectors of their own for every place at which the network reads the text.
    """

    states: Tensor

    def __repr__(self) -> str:
        return f"Condition{tuple(self.states.shape)}"


class Backbone(Protocol):
    """A frozen text-to-music model.

    Attributes
    ----------
    name
        Family and origin, as in "riffusion:riffusion/riffusion-model-v1"; encoders are made for one name.
    licence
        Licence of the weights.
    sample_rate
        Hz of the audio it makes.
    window_seconds
        Length of one window (5.12 s).
    quantum_seconds
        Window starts should be multiples of this, so that contexts fall on whole latent steps.
    text_width
        Width of the text transformer's input embeddings: the length of a pseudo-word's vector.
    condition_layers
        At how many places the network reads the text; pseudo-words may have vectors of their own for each (P+).
    speaks_tempo
        Whether its captions gave tempo and phase as :func:`d2m_cli.inversion.prompt.rhythm_words` words them.
    description
        One line that says which weights run on which device.
    fingerprint
        sha256 over the weights files: the same on every device and in every precision.
    """

    name: str
    licence: str
    sample_rate: int
    window_seconds: float
    quantum_seconds: float
    text_width: int
    condition_layers: int
    speaks_tempo: bool
    description: str

    @property
    def fingerprint(self) -> str: ...

    @property
    def targets_settings(self) -> str:
        """Everything besides the weights that `targets` hang on, as one text for the keys of a cache."""
        ...

    def modules(self) -> Mapping[str, nn.Module]:
        """The frozen networks, by name; none of their values may ever change."""
        ...

    def ready_for_training(self, precision: str) -> None:
        """Make backward passes fast.

        Parameters
        ----------
        precision
            "fp32", "bf16" or "fp16": what autocast will compute in. On a GPU the weights may be held in it. Called
            once, before the digest of the frozen networks is taken.
        """
        ...

    def words_vector(self, text: str) -> Tensor:
        """(text_width,) one input embedding in place of some plain words: the mean of theirs."""
        ...

    def tempo_vector(self, tempo: Tempo) -> Tensor:
        """(text_width,) one input embedding that says a tempo, and the first beat where the captions gave it."""
        ...

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        """Run the frozen text transformer.

        Parameters
        ----------
        prompts
            Texts in which "@" and "*" stand for pseudo-words.
        pseudo_words
            For each placeholder the input embeddings that replace it wherever it stands: (batch, text_width);
            (batch, vectors, text_width), which take that many tokens in a row; or (batch, layers, vectors, text_width)
            with 1 or `condition_layers` layers. A placeholder that is not in the mapping is read as an ordinary word;
            one that is not in a row's prompt is ignored for that row. Gradients flow to the vectors.
        """
        ...

    def targets(self, audio: Tensor) -> Tensor:
        """What the loss rebuilds, cacheable: (batch, channels, samples) of one window -> (batch, ...)."""
        ...

    def loss(
        self, targets: Tensor, condition: Condition, generator: object | None = None, focus: float = 0.0
    ) -> Tensor:
        """(batch,) loss of Eq. 2 (diffusion) or Eq. 3 (codebooks).

        Parameters
        ----------
        targets
            From `targets`.
        condition
            From `embed`.
        generator
            A ``torch.Generator`` on the CPU that noise and time steps are drawn from, or None: torch's own.
        focus
            0 draws all time steps alike, as Eq. 2 has it. Above 0 noisy ones come more often, with a density that
            rises as t^focus: there the text decides most, since little of the music shows through the noise. Families
            without time steps ignore it.
        """
        ...

    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Tensor | None = None,
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Draw one window a condition.

        Parameters
        ----------
        condition, negative
            What to make, and what to steer away from (the empty prompt as a rule).
        seeds
            One seed a window; the same seed, condition and context give the same bytes on the same device.
        context
            (batch, channels, samples) audio that the window must begin with, or None.

        Returns
        -------
        (batch, channels, window_seconds * sample_rate) float32 on the CPU.
        """
        ...


def parameters_digest(modules: Mapping[str, nn.Module]) -> str:
    """sha256 over all parameters and buffers, by name, shape, type and value."""
    digest = hashlib.sha256()
    for prefix, module in sorted(modules.items()):
        for name, value in sorted(module.state_dict().items()):
            array = value.detach().cpu().contiguous()
            digest.update(f"{prefix}.{name} {tuple(array.shape)} {array.dtype}".encode())
            digest.update(array.flatten().view(dtype=_bytes()).numpy().tobytes())
    return digest.hexdigest()


def _bytes() -> object:
    import torch

    return torch.uint8


def files_digest(folder: Path, parts: Sequence[str]) -> str:
    """sha256 over the weights files in some sub-folders, by name and content."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for path in sorted(p for p in (folder / part).iterdir() if p.suffix in (".safetensors", ".bin")):
            digest.update(f"{part}/{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
