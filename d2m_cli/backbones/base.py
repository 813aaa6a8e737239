"""The protocol that every text-to-music model fulfils.

Training, generation and tests know only what stands here. A family is one file that implements :class:`Backbone`
and one line in :mod:`d2m_cli.backbones.registry`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from d2m_cli.backbones.draw import Draw as Draw
from d2m_cli.backbones.sampling import PLAIN_SAMPLING
from d2m_cli.backbones.sampling import FullSampling as FullSampling
from d2m_cli.backbones.sampling import Sampling as Sampling
from d2m_cli.errors import MissingWeightsError, UsageError
from d2m_cli.ground.options import option
from d2m_cli.inversion.prompt import MOST_MODELS, TempoWords, first_beat_words, in_caption_octave

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from d2m_cli.rhythm.sequence import Tempo


WINDOW_SECONDS = 5.12
"""Of the paper: AIST++ and its successors are cut into pieces of this length."""


@dataclass(frozen=True)
class Identity:
    """What a backbone calls itself.

    Attributes
    ----------
    name, licence
        As in the protocol.
    speaks_tempo
        Whether its captions gave tempo and first beat in words.
    tempo_words
        How its family is told a tempo where they did not.
    sampling
        How music is drawn from its family where nothing is said.
    """

    name: str
    licence: str
    speaks_tempo: bool = False
    tempo_words: TempoWords = MOST_MODELS
    sampling: FullSampling = PLAIN_SAMPLING


@dataclass(frozen=True, repr=False)
class Condition:
    """Text states of a batch of prompts, pseudo-words inside.

    Attributes
    ----------
    states
        (batch, tokens, text_width) output of the frozen text transformer; (batch, layers, tokens, text_width) where
        the pseudo-words have vectors of their own for every place at which the network reads the text.
    mask
        (batch, tokens) bool, False where a row holds only padding; None where the network reads all tokens.
    """

    states: Tensor
    mask: Tensor | None = None

    def __repr__(self) -> str:
        return f"Condition{tuple(self.states.shape)}"

    def repeated(self, count: int) -> Condition:
        """One row as a batch of so many."""
        mask = self.mask.expand(count, -1) if self.mask is not None else None
        return Condition(self.states.expand(count, *self.states.shape[1:]), mask)


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
    heeds
        Which fields of `Sampling` it goes by.
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

    @property
    def heeds(self) -> tuple[str, ...]: ...

    @property
    def description(self) -> str: ...

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
        """(text_width,) one input embedding in place of some plain words: the mean of theirs, by `words_embedding`."""
        ...

    def tempo_vector(self, tempo: Tempo) -> Tensor:
        """(text_width,) one input embedding that says a tempo, and the first beat where the captions gave it; by
        `tempo_embedding`."""
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

        Raises
        ------
        UsageError
            A placeholder lies behind what the text transformer reads. Other words there are cut: a backbone whose
            reading ends somewhere should have the method that `unread_words` asks.
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
            without time steps ignore both.
        """
        ...

    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
    ) -> Draw:
        """Draw one window a condition.

        Parameters
        ----------
        condition, negative
            What to make, and what to steer away from (the empty prompt by default).
        seeds
            One seed a window; the same seed, condition and context give the same bytes on the same device.
        context
            Music of the same backbone that the window must begin with, or None. What it was decoded from, tokens or
            latents, goes before the sound; a context without is encoded.
        sampling
            How to draw; what it leaves open is the backbone's choice. Generation leaves nothing open.

        Returns
        -------
        Music of `window_seconds`.
        """
        ...


def tempo_words(backbone: Backbone) -> TempoWords:
    """How a backbone is told a tempo: its attribute ``tempo_words``, which is not part of the protocol, or as most."""
    words: TempoWords = getattr(backbone, "tempo_words", MOST_MODELS)
    return words


def writes_pieces(backbone: Backbone) -> bool:
    """Whether a backbone writes pieces of any length up to a longest one, and not windows alone.

    It has the attribute ``longest_seconds``, which is not part of the protocol, and takes the length of a piece as
    ``generate(..., seconds=)``.
    """
    return hasattr(backbone, "longest_seconds")


def longest_seconds(backbone: Backbone) -> float:
    """The longest piece that a backbone writes at once: see `writes_pieces`; others write one window."""
    longest: float = getattr(backbone, "longest_seconds", backbone.window_seconds)
    return longest


def makes_drafts(backbone: Backbone) -> bool:
    """Whether takes of a backbone are best sounded roughly first, and in full once one of them is chosen.

    It has a true attribute ``drafts``, which is not part of the protocol. Then it takes ``generate(..., draft=True)``,
    and ``in_full(draft, seeds)`` gives what ``generate`` would have given without.
    """
    return bool(getattr(backbone, "drafts", False))


def full_prompt(backbone: Backbone, prompt: str, tempo: Tempo | None, seconds: float, goes_on: bool) -> str:
    """A prompt with what a backbone reads beside it.

    Parameters
    ----------
    backbone
        Asked by its method ``full_prompt(prompt, tempo, seconds, goes_on) -> str``, which is not part of the protocol:
        one that lacks it reads the prompt alone.
    prompt
        The text, with "@" and "*" where pseudo-words stand.
    tempo
        For a field of beats a minute, or None.
    seconds
        Length of the piece.
    goes_on
        Whether the piece begins with music that is there already.
    """
    tell: Callable[[str, Tempo | None, float, bool], str] | None = getattr(backbone, "full_prompt", None)
    return prompt if tell is None else tell(prompt, tempo, seconds, goes_on)


def refused(backbone: Backbone) -> Mapping[str, str]:
    """Options that a backbone refuses, with reasons: its attribute ``refuses``, which is not part of the protocol."""
    reasons: Mapping[str, str] = getattr(backbone, "refuses", {})
    return reasons


def forecast(backbone: Backbone, seconds: float, sampling: FullSampling, takes: int) -> str:
    """How long music will take, in words, where a backbone says so; "" where it does not.

    Parameters
    ----------
    backbone
        Asked by its method ``forecast(seconds, sampling, takes) -> str``, which is not part of the protocol.
    seconds
        Length of a piece.
    sampling
        How it is drawn.
    takes
        How many are drawn of each.
    """
    tell: Callable[[float, FullSampling, int], str] | None = getattr(backbone, "forecast", None)
    return "" if tell is None else tell(seconds, sampling, takes)


def full_sampling(backbone: Backbone, wanted: Sampling | None) -> FullSampling:
    """How music is drawn from a backbone, nothing left open.

    Parameters
    ----------
    backbone
        Its attribute ``default_sampling``, which is not part of the protocol, fills what is left to it; where there is
        none, `PLAIN_SAMPLING` does.
    wanted
        What was asked for.
    """
    default: FullSampling = getattr(backbone, "default_sampling", PLAIN_SAMPLING)
    return default.filling(wanted)


def unread_words(backbone: Backbone, prompt: str, pseudo_words: Mapping[str, Tensor]) -> str:
    """The end of a prompt that a backbone's text transformer does not read.

    Parameters
    ----------
    backbone
        Asked by its method ``unread(prompt, pseudo_words) -> str``, which is not part of the protocol: one that lacks
        it is taken to read all.
    prompt, pseudo_words
        As for `Backbone.embed`, one prompt.

    Returns
    -------
    From the first word that is not read whole to the end; "" where all is read.
    """
    unread: Callable[[str, Mapping[str, Tensor]], str] | None = getattr(backbone, "unread", None)
    return "" if unread is None else unread(prompt, pseudo_words)


def number_format(device: str, precision: str) -> torch.dtype:
    """Number format in which weights are held: "auto" is fp16 on a GPU and fp32 elsewhere.

    Raises
    ------
    UsageError
        Unknown precision, or fp16 on the CPU, which computes it slowly where it does at all.
    """
    import torch

    if precision == "auto":
        # Half precision pays on a GPU only; a CPU computes in the type that all of them are fast in.
        return torch.float16 if device.startswith("cuda") else torch.float32
    formats = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in formats:
        raise UsageError(f"unknown precision {precision!r}: say auto, {', '.join(formats)}")
    if precision == "fp16" and device == "cpu":
        raise UsageError(f"{option('precision', 'fp16')} needs a CUDA device: say bf16 or fp32")
    return formats[precision]


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


def words_embedding(tokenizer: Any, table: Tensor, text: str) -> Tensor:
    """(width,) mean input embedding of a text's tokens; `table` is (vocabulary, width)."""
    return table[tokenizer(text, add_special_tokens=False)["input_ids"]].float().mean(0)


def tempo_embedding(word: Callable[[str], Tensor], tempo: Tempo, speaks_tempo: bool) -> Tensor:
    """A tempo as one input embedding; see `Backbone.tempo_vector`.

    The captions of models that speak of tempo had, in part, one word for tempo and first beat together, whose embedding
    was the sum of those of the two numbers.
    """
    if not speaks_tempo:
        return word(f"{tempo.bpm:.0f} bpm")
    tempo = in_caption_octave(tempo)
    return word(f"{tempo.bpm:.0f}") + word(first_beat_words(tempo))


def refuse_gaps(where: object, missing: Collection[str]) -> None:
    """Raise MissingWeightsError where a library found tensors missing: it fills them with random numbers."""
    if missing:
        raise MissingWeightsError(
            f"{where}: {len(missing)} of the model's tensors are missing, {min(missing)!r} for one. Fetch the model "
            "again."
        )


def require_tokenizer(folder: Path, names: Sequence[str]) -> None:
    """Raise MissingWeightsError unless one of a tokenizer's files is there: without, transformers knows no words."""
    if not any((folder / name).is_file() for name in names):
        raise MissingWeightsError(f"{folder}: holds no {' and no '.join(names)}. Fetch the model again.")
