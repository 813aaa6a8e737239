"""The protocol that every text-to-music model fulfils.

Training, generation and tests know only what stands here. A family is one file that implements :class:`Backbone`
and one line in :mod:`d2m_cli.backbones.registry`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

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
class Sampling:
    """How music is drawn from a backbone.

    Attributes
    ----------
    steps
        Denoising steps (diffusion families; DPM-Solver++).
    guidance
        Classifier-free guidance scale; 1 switches it off.
    temperature
        Divides the logits (codebook families); 0 always takes the most likely token.
    top_k
        Only so many of the most likely tokens are drawn from (codebook families); 0 takes all.
    top_p
        Only the most likely tokens that together reach this probability are drawn from (codebook families); 1 takes
        all.
    """

    steps: int = 20
    guidance: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"{option('steps')} must be at least 1, not {self.steps}")
        if not 0.0 <= self.guidance < math.inf:
            raise UsageError(f"{option('guidance')} must be 0 or more, not {self.guidance}")
        if not 0.0 <= self.temperature < math.inf:
            raise UsageError(f"{option('temperature')} must be 0 or more, not {self.temperature}")
        if self.top_k < 0:
            raise UsageError(f"{option('top_k')} must be 0 (all tokens) or more, not {self.top_k}")
        if not 0.0 < self.top_p <= 1.0:
            raise UsageError(f"{option('top_p')} must be above 0 and at most 1, not {self.top_p}")


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
    """

    name: str
    licence: str
    speaks_tempo: bool = False
    tempo_words: TempoWords = MOST_MODELS


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


@dataclass(frozen=True, repr=False)
class Draw:
    """Music that a backbone made, or the end of it.

    Attributes
    ----------
    audio
        (batch, channels, samples) float32 on the CPU.
    sample_rate
        Hz.
    codes
        (batch, codebooks, frames) tokens that the audio was decoded from, so that a window can go on from just these;
        None for families that have none.
    code_rate
        Frames of `codes` a second.
    latents
        (batch, ..., columns) latents that the audio was decoded from, likewise, on the CPU; None for families that have
        none, and where the piece begins in the middle of a column.
    latent_rate
        Columns of `latents` a second.
    """

    audio: Tensor
    sample_rate: int
    codes: Tensor | None = None
    code_rate: float = 0.0
    latents: Tensor | None = None
    latent_rate: float = 0.0

    def __repr__(self) -> str:
        return f"Draw{tuple(self.audio.shape)}"

    def end(self, start: float) -> Draw | None:
        """What lies behind a time in seconds; None where nothing does."""
        audio = self.audio[..., round(start * self.sample_rate) :]
        codes = self.codes[..., round(start * self.code_rate) :] if self.codes is not None else None
        column = start * self.latent_rate
        whole = self.latents is not None and abs(column - round(column)) < 1e-3
        latents = self.latents[..., round(column) :] if self.latents is not None and whole else None
        return replace(self, audio=audio, codes=codes, latents=latents) if audio.shape[-1] else None

    def row(self, number: int) -> Draw:
        """One piece of a batch, as a batch of one."""
        return self._each(lambda values: values[number, None])

    def repeated(self, count: int) -> Draw:
        """One row as a batch of so many."""
        return self._each(lambda values: values.expand(count, *values.shape[1:]))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draw:
        codes = change(self.codes) if self.codes is not None else None
        latents = change(self.latents) if self.latents is not None else None
        return replace(self, audio=change(self.audio), codes=codes, latents=latents)

    @staticmethod
    def joined(draws: Sequence[Draw]) -> Draw:
        """Pieces of one backbone, equally long, as one batch.

        Raises
        ------
        ValueError
            Some have tokens or latents and others have none, or they are not equally long.
        """
        import torch

        def shapes(draw: Draw) -> tuple[torch.Size | None, ...]:
            return tuple(None if one is None else one.shape[1:] for one in (draw.audio, draw.codes, draw.latents))

        if len(set(map(shapes, draws))) > 1:
            told = " and ".join(str(shapes(draw)) for draw in draws)
            raise ValueError(f"pieces of one batch have sound, tokens and latents of the same shapes, not {told}")
        codes = [draw.codes for draw in draws if draw.codes is not None]
        latents = [draw.latents for draw in draws if draw.latents is not None]
        return replace(
            draws[0],
            audio=torch.cat([draw.audio for draw in draws]),
            codes=torch.cat(codes) if codes else None,
            latents=torch.cat(latents) if latents else None,
        )


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

        Returns
        -------
        Music of `window_seconds`.
        """
        ...


def tempo_words(backbone: Backbone) -> TempoWords:
    """How a backbone is told a tempo: its attribute ``tempo_words``, which is not part of the protocol, or as most."""
    words: TempoWords = getattr(backbone, "tempo_words", MOST_MODELS)
    return words


def longest_seconds(backbone: Backbone) -> float:
    """The longest piece that a backbone writes at once.

    That is its attribute ``longest_seconds``, which is not part of the protocol; one that has it takes the length of a
    piece as ``generate(..., seconds=)``. Others write one window.
    """
    longest: float = getattr(backbone, "longest_seconds", backbone.window_seconds)
    return longest


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


def forecast(backbone: Backbone, seconds: float, sampling: Sampling, pieces: int) -> str:
    """How long music will take, in words, where a backbone says so; "" where it does not.

    Parameters
    ----------
    backbone
        Asked by its method ``forecast(seconds, sampling, pieces) -> str``, which is not part of the protocol.
    seconds
        Length of a piece.
    sampling
        How it is drawn.
    pieces
        How many there will be.
    """
    tell: Callable[[float, Sampling, int], str] | None = getattr(backbone, "forecast", None)
    return "" if tell is None else tell(seconds, sampling, pieces)


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
