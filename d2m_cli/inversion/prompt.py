"""Prompts with the pseudo-words "@" (genre) and "*" (rhythm), and how they become tokens.

The training prompt is fixed (Sec. 3.1): "a @ music with * as the rhythm". At inference the user's words follow it, or
the user writes a prompt with placeholders of their own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from d2m_cli.errors import UsageError
from d2m_cli.rhythm.sequence import Tempo

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENRE_WORD = "@"
RHYTHM_WORD = "*"
TRAINING_PROMPT = "a @ music with * as the rhythm"
CAPTION_OCTAVE = (71.5, 143.5)
"""Beats per minute between which every danced tempo has one octave."""


@dataclass(frozen=True)
class TempoWords:
    """How a family of models is told a tempo.

    Attributes
    ----------
    wording
        What stands for "*": "{bpm}" in it becomes the whole number of beats a minute.
    octave
        Beats a minute between which tempi are halved or doubled before they are told.
    place
        "words": the prompt says it; "field": the model reads it beside the prompt, which says that there is a steady
        beat; "none": it can't be told.
    suffices
        Whether a tempo so told stands in for encoders that are not there: the model was trained to follow it.
    """

    wording: str = "{bpm} BPM"
    octave: tuple[float, float] = (80.0, 160.0)
    place: Literal["words", "field", "none"] = "words"
    suffices: bool = False

    def say(self, tempo: Tempo | None) -> str:
        """A tempo, or that there is a steady one."""
        if tempo is None or self.place != "words":
            return "a steady beat"
        return self.wording.format(bpm=round(tempo.bpm))


MOST_MODELS = TempoWords()
"""How a model is told a tempo of which nothing else is known."""


@dataclass(frozen=True)
class Prompt:
    """Text with placeholders.

    Attributes
    ----------
    text
        What the text encoder reads; "@" and "*" stand for pseudo-words.
    """

    text: str

    @property
    def has_genre(self) -> bool:
        """Whether "@" stands in it."""
        return GENRE_WORD in self.text

    @property
    def has_rhythm(self) -> bool:
        """Whether "*" stands in it."""
        return RHYTHM_WORD in self.text

    def with_rhythm(self, words: str) -> Prompt:
        """The prompt with "*" spoken in plain words instead."""
        return Prompt(self.text.replace(RHYTHM_WORD, words))

    def without_rhythm(self) -> Prompt:
        """The prompt as captions have it that tell nothing of the rhythm."""
        return Prompt(self.text.replace(f" with {RHYTHM_WORD} as the rhythm", "")).with_rhythm("a steady beat")

    def with_genre(self, words: str) -> Prompt:
        """The prompt with "@" spoken in plain words instead: the first of a list where it stands, the rest behind."""
        genre, _, rest = words.partition(", ")
        text = self.text.replace(GENRE_WORD, genre)
        return Prompt(f"{text}, {rest}" if rest and self.has_genre else text)


def compose_prompt(words: str | None = None, *, genre: bool) -> Prompt:
    """Put the user's words behind the training prompt.

    Parameters
    ----------
    words
        The user's prompt. Where it holds "@" or "*" of its own it is taken as it is.
    genre
        Whether "@" stands for something; else it is left out.
    """
    words = (words or "").strip()
    own = GENRE_WORD in words or RHYTHM_WORD in words
    text = words if own else ", ".join(part for part in (TRAINING_PROMPT, words) if part)
    if not genre:
        text = re.sub(rf"\s*{re.escape(GENRE_WORD)}", "", text).strip()
    return Prompt(text)


def describing_prompt(words: str | None, genre_words: str | None, tempo: str) -> Prompt:
    """A prompt as text-to-music models meet them: a genre, a tempo and what else is heard, one behind the other.

    Parameters
    ----------
    words
        The user's prompt. Where it holds "@" or "*" of its own, genre and tempo stand there.
    genre_words
        As in `d2m_cli.ground.genres.GENRE_WORDS`; None without a genre.
    tempo
        From `TempoWords.say`.
    """
    words = (words or "").strip()
    if GENRE_WORD in words or RHYTHM_WORD in words:
        prompt = compose_prompt(words, genre=genre_words is not None).with_rhythm(tempo)
        return prompt.with_genre(genre_words) if genre_words is not None else prompt
    genre, _, rest = (genre_words or ("" if words else "dance music")).partition(", ")
    return Prompt(", ".join(part for part in (genre, tempo, rest, words) if part))


def training_prompt(genre: bool) -> str:
    """The fixed prompt, without "@" where no genre is given."""
    return compose_prompt(genre=genre).text


def in_caption_octave(tempo: Tempo) -> Tempo:
    """A tempo halved or doubled into the octave of tempi that the embedded backbone's captions speak of.

    The first beat stays where it is but for whole periods of the new tempo.
    """
    bpm = tempo.bpm
    while bpm >= CAPTION_OCTAVE[1]:
        bpm /= 2
    while bpm < CAPTION_OCTAVE[0]:
        bpm *= 2
    return Tempo(bpm, tempo.first_beat % (60.0 / bpm), tempo.confidence)


def rhythm_words(tempo: Tempo) -> str:
    """Say tempo and first beat of a window as captions say it."""
    return f"{tempo.bpm:.0f} bpm and first beat at {first_beat_words(tempo)} seconds"


def first_beat_words(tempo: Tempo) -> str:
    """The first beat in seconds as captions write it; 0.83 is the longest that they speak of."""
    return f"{min(tempo.first_beat, 0.83):.2f}"


def tokenize(
    tokenizer: PreTrainedTokenizerBase, text: str, placeholders: Mapping[str, int], max_length: int, *, pad: bool = True
) -> tuple[list[int], dict[str, list[int]]]:
    """Turn a prompt into padded token numbers in which every placeholder takes tokens of its own at known places.

    The text is split at its placeholders and the pieces are tokenised one by one, so that a placeholder beside a comma
    or inside a word still survives. What is longer than the text encoder reads is cut; `unread_text` says what.

    Parameters
    ----------
    tokenizer
        Of CLIP, T5 or any other family.
    text
        The prompt.
    placeholders
        For each placeholder how many tokens in a row it takes.
    max_length
        How many tokens the text encoder reads.
    pad
        Fill up to `max_length` with padding tokens.

    Returns
    -------
    ids
        Numbers with start and end tokens as the tokenizer sets them, and padding where it is asked for.
    places
        For each placeholder the indices at which it begins.

    Raises
    ------
    UsageError
        A placeholder lies behind what the text encoder reads.
    """
    ids: list[int] = []
    places: dict[str, list[int]] = {word: [] for word in placeholders}
    filler = _placeholder_id(tokenizer)
    for piece in _pieces(text, placeholders):
        if piece in places:
            places[piece].append(len(ids))
            ids.extend([filler] * placeholders[piece])
        elif piece.strip():
            ids.extend(_token_ids(tokenizer, piece))
    start, end = _ends(tokenizer)
    room = max_length - len(start) - len(end)
    if len(ids) > room:
        beyond = [word for word, where in places.items() if any(at + placeholders[word] > room for at in where)]
        if beyond:
            raise UsageError(
                f"the prompt takes {len(ids)} tokens, of which the backbone reads {room}, and {beyond[0]!r} lies "
                f"behind them: shorten it, or move {beyond[0]!r} to the front. The prompt: {text!r}"
            )
    ids = ids[:room]
    places = {word: [at + len(start) for at in where] for word, where in places.items()}
    ids = [*start, *ids, *end]
    if not pad:
        return ids, places
    padding: Any = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return ids + [padding] * (max_length - len(ids)), places


def unread_text(tokenizer: PreTrainedTokenizerBase, text: str, placeholders: Mapping[str, int], max_length: int) -> str:
    """The end of a prompt that the text encoder does not read, from its first word that is not read whole; "" for none.

    Parameters
    ----------
    tokenizer, text, placeholders, max_length
        As for `tokenize`.
    """
    left = _room(tokenizer, max_length)
    pieces = _pieces(text, placeholders)
    for number, piece in enumerate(pieces):
        count = placeholders.get(piece, 0) or (len(_token_ids(tokenizer, piece)) if piece.strip() else 0)
        if count > left:
            return (_behind(tokenizer, piece, left) + "".join(pieces[number + 1 :])).strip()
        left -= count
    return ""


def _behind(tokenizer: PreTrainedTokenizerBase, piece: str, tokens: int) -> str:
    """What of a text does not fit so many tokens, word by word."""
    ends = [match.end() for match in re.finditer(r"\S+", piece)]
    # More words never take fewer tokens.
    fit = bisect_right(ends, tokens, key=lambda end: len(_token_ids(tokenizer, piece[:end])))
    return piece[ends[fit - 1] :] if fit else piece


def _pieces(text: str, placeholders: Mapping[str, int]) -> list[str]:
    return re.split("([" + re.escape("".join(placeholders)) + "])", text) if placeholders else [text]


def _token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _room(tokenizer: PreTrainedTokenizerBase, max_length: int) -> int:
    """Tokens left for the text beside those of start and end."""
    start, end = _ends(tokenizer)
    return max_length - len(start) - len(end)


def _ends(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens that a tokenizer itself puts before and behind a text: CLIP has both, T5 the last, Qwen3 none."""
    whole: list[int] = tokenizer(RHYTHM_WORD, verbose=False)["input_ids"]
    plain = _token_ids(tokenizer, RHYTHM_WORD)
    at = next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    return whole[:at], whole[at + len(plain) :]


def _placeholder_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Any ordinary token: its embedding is replaced before the transformer sees it."""
    return int(tokenizer(RHYTHM_WORD, add_special_tokens=False)["input_ids"][-1])
