"""What "@" stands for in a piece of music: a genre by its name, a sound example, or a vector that was only learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from d2m_cli.errors import AudioError, EncoderMismatchError, MissingWeightsError, UsageError
from d2m_cli.ground.options import option

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from d2m_cli.generation.options import GenerateOptions
    from d2m_cli.inversion.clap import ClapAudio


@dataclass(frozen=True)
class NamedGenre:
    """One of the ten genres.

    Attributes
    ----------
    code
        Its two letters.
    """

    code: str

    @property
    def for_encoder(self) -> Sequence[str]:
        """As the genre encoder takes it, for one window."""
        return [self.code]


@dataclass(frozen=True, eq=False)
class SoundExample:
    """A sound, as CLAP hears it.

    Attributes
    ----------
    embedding
        (1, 512), of length 1.
    clap_sha256
        Hash of the CLAP model that heard it.
    """

    embedding: Tensor
    clap_sha256: str

    @property
    def for_encoder(self) -> Tensor:
        """As the genre encoder takes it, for one window."""
        return self.embedding


@dataclass(frozen=True)
class LearnedConstant:
    """A vector that is the same whatever the genre."""

    @property
    def for_encoder(self) -> Sequence[str]:
        """As the genre encoder takes it, for one window: such an encoder only counts them."""
        return ["any"]


GenreMeaning = NamedGenre | SoundExample | LearnedConstant


class KnowsGenres(Protocol):
    """What tells how "@" was trained."""

    @property
    def genre_kind(self) -> str | None:
        """ "label", "clap" or "constant", as in `d2m_cli.inversion.checkpoint.EncoderConfig`; None without "@"."""
        ...


def genre_meaning(
    options: GenerateOptions, encoders: KnowsGenres | None, sound: SoundExample | None
) -> GenreMeaning | None:
    """What "@" stands for; None where it has to be left out of the prompt."""
    if options.genre is not None:
        return NamedGenre(options.genre)
    if sound is not None:
        return sound
    return LearnedConstant() if encoders is not None and encoders.genre_kind == "constant" else None


def check_genre_words(encoders: object | None, options: GenerateOptions) -> None:
    """Raise EncoderMismatchError where a genre is put in words and encoders, or a file of them, make a vector of it."""
    if options.genre_words is not None and encoders is not None:
        raise EncoderMismatchError(
            f"{option('genre_words')} is for backbones that read a genre in plain words, and here '@' is a vector that "
            f"encoders make: leave {option('genre_words')} out, or say {option('rhythm', 'words')} without encoders"
        )


def check_genre(encoders: KnowsGenres | None, options: GenerateOptions) -> None:
    """Raise EncoderMismatchError where "@" can't stand for what was asked for."""
    check_genre_words(encoders, options)
    listens = encoders is not None and encoders.genre_kind == "clap"
    # Without encoders a genre is put in plain words.
    knows_names = encoders is None or encoders.genre_kind == "label"
    audio, clap = option("genre_audio"), option("clap")
    if options.genre_audio is not None and not listens:
        raise EncoderMismatchError(
            f"{audio} needs encoders whose '@' listens to sounds, and {_trained(encoders)}. Leave {audio} and {clap} "
            "out, or train such encoders with 'd2m train --genre-encoder clap'."
        )
    if options.genre is not None and not knows_names:
        other = f"give a sound example with {audio} and {clap}" if listens else f"leave {option('genre')} out"
        raise EncoderMismatchError(
            f"{option('genre', options.genre)} needs encoders whose '@' knows genres by name, and "
            f"{_trained(encoders)}: {other}."
        )


_TRAINED = {
    "label": "the '@' of these knows genres by name",
    "clap": "the '@' of these listens to a sound example",
    "constant": "the '@' of these is one learned constant",
    None: "these were made without '@'",
}


def _trained(encoders: KnowsGenres | None) -> str:
    return "this run has no encoders" if encoders is None else _TRAINED[encoders.genre_kind]


def check_listener(listener: ClapAudio, trained_with: str, encoders: Path | None) -> None:
    """Raise EncoderMismatchError where "@" was trained with another CLAP model.

    Parameters
    ----------
    listener
        The model that was given.
    trained_with
        `EncoderConfig.clap` of the encoders: fingerprint of theirs, "" where that is not known.
    encoders
        Their file.
    """
    if trained_with and trained_with != listener.fingerprint:
        raise EncoderMismatchError(
            f"{option('clap')} {listener.folder}: the '@' of {encoders} was trained with another CLAP model; give the "
            "folder of that one"
        )


def check_reading(listener: ClapAudio) -> None:
    """Raise MissingWeightsError where a CLAP model that is to hold takes beside words can't read."""
    if listener.unable_to_read:
        raise MissingWeightsError(
            f"{option('clap')} {listener.folder}: CLAP {listener.unable_to_read}, so takes can't be held beside the "
            f"prompt: leave {option('clap')} out, or give the folder of a whole model"
        )


def hear(audio: Path, listener: ClapAudio) -> SoundExample:
    """Listen to a sound example.

    Raises
    ------
    UsageError
        The file holds no sound.
    """
    from d2m_cli.media.audio import load_audio

    try:
        samples, rate = load_audio(audio, mono=True)
    except AudioError as error:
        raise UsageError(f"{option('genre_audio')} {error}") from error
    return SoundExample(listener.embed(samples[0], rate)[None], listener.fingerprint)
