"""From the rhythm of a dance to its music: prompts and pseudo-words, windows, and the takes that are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from d2m_cli.backbones.base import Condition, Draw, Sampling, tempo_words, unread_words
from d2m_cli.errors import UsageError
from d2m_cli.generation.candidates import choose_take
from d2m_cli.generation.finish import breaks_in, finish
from d2m_cli.generation.genre import genre_meaning
from d2m_cli.generation.music import Music
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.stitch import stitch
from d2m_cli.generation.windows import Window, candidate_seed, plan_windows
from d2m_cli.ground.audio_beats import track_beats
from d2m_cli.ground.genres import GENRE_CODES, GENRE_WORDS
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.inversion.prompt import (
    CAPTION_OCTAVE,
    RHYTHM_WORD,
    Prompt,
    compose_prompt,
    describing_prompt,
    rhythm_words,
)
from d2m_cli.rhythm.sequence import BeatMap, Rhythm, Tempo

if TYPE_CHECKING:
    from torch import Tensor

    from d2m_cli.backbones.base import Backbone
    from d2m_cli.generation.models import Models

TOGETHER = 4
"""Takes of a window that a backbone makes at once."""

Tell = Callable[[str], None]
"""Told what a user should know while the work goes on; the same may come more than once."""


def silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Take:
    """What one window was made from.

    Attributes
    ----------
    window
        Where it lies.
    prompt
        As it was given to the text encoder.
    seed
        Of its noise.
    unread
        The end of the prompt that the text encoder did not read, "" where it read all.
    """

    window: Window
    prompt: str
    seed: int
    unread: str = ""


def compose(
    rhythm: Rhythm,
    duration: float,
    models: Models,
    options: GenerateOptions,
    content: str,
    report: Report,
    tell: Tell = silent,
    holds: Sequence[tuple[float, float]] = (),
) -> tuple[Music, tuple[Take, ...]]:
    """Music in the rhythm of a dance.

    Windows are made one after the other: each begins with the end of the one before, so that one piece goes on and its
    beats stay on one grid.

    Parameters
    ----------
    rhythm
        Of the whole video.
    duration
        Length of the video in seconds.
    models
        Backbone, and encoders where the rhythm is not put in words.
    options
        What music to make.
    content
        Digest of the video's content, for the seeds.
    report
        Told where the work is.
    tell
        Told which words of the prompts the backbone does not read.
    holds
        (start, end) in seconds of where the dance holds and the music is to break off.
    """
    import torch

    backbone = models.backbone
    steady = rhythm.beats.beats if rhythm.beats.steady else None
    windows = plan_windows(duration, backbone.window_seconds, options.overlap_seconds, backbone.quantum_seconds, steady)
    takes: list[Take] = []
    draws: list[Draw] = []
    with torch.inference_mode():
        negative = backbone.embed([options.negative_prompt], {})
        _tell_unread(tell, "negative prompt", unread_words(backbone, options.negative_prompt, {}))
        for window in windows:
            report(f"music, window {window.index + 1} of {len(windows)}", window.index / len(windows))
            prompt = window_prompt(rhythm, window, models, options).text
            words = pseudo_words(prompt, rhythm, window, models, options)
            condition = backbone.embed([prompt], words)
            unread = unread_words(backbone, prompt, words)
            _tell_unread(tell, "prompt", unread)
            before = window.start - windows[window.index - 1].start
            context = draws[-1].end(before) if draws else None
            seeds = [candidate_seed(options.seed, content, window.index, n) for n in range(options.candidates)]
            made = _takes(backbone, condition, negative, seeds, context, options.sampling)
            best = choose_take([take.audio[0].numpy() for take in made], backbone.sample_rate, rhythm, window)
            draws.append(made[best])
            takes.append(Take(window, prompt, seeds[best], unread))
    report("joining windows", 1.0)
    rate = backbone.sample_rate
    samples = stitch([draw.audio[0].numpy() for draw in draws], windows, rate, duration, steady)
    bpm = rhythm.beats.bpm or None
    # Where the dance has no steady beat to end on, the music has one of its own.
    last_beats = steady if steady is not None else track_beats(samples, rate, bpm)
    breaks = breaks_in(holds, np.zeros(0) if steady is None else steady, duration)
    samples, level = finish(samples, rate, last_beats, options.ending, options.loudness, breaks)
    return Music(samples, rate, track_beats(samples, rate, bpm), level, breaks), tuple(takes)


def _tell_unread(tell: Tell, what: str, unread: str) -> None:
    if unread:
        tell(f"the {what} is longer than the model reads: not read is {unread!r}")


def _takes(
    backbone: Backbone,
    condition: Condition,
    negative: Condition,
    seeds: Sequence[int],
    context: Draw | None,
    sampling: Sampling,
) -> list[Draw]:
    """One take a seed, a few in one call: what a call costs is mostly shared."""
    takes: list[Draw] = []
    for at in range(0, len(seeds), TOGETHER):
        some = seeds[at : at + TOGETHER]
        known = context.repeated(len(some)) if context is not None else None
        made = backbone.generate(condition.repeated(len(some)), negative, some, known, sampling)
        takes += [made.row(number) for number in range(len(some))]
    return takes


def window_prompt(rhythm: Rhythm, window: Window, models: Models, options: GenerateOptions) -> Prompt:
    """The prompt of one window; it holds "*" and "@" only where an encoder gives them a vector."""
    backbone = models.backbone
    words = tempo_words(backbone)
    octave = CAPTION_OCTAVE if backbone.speaks_tempo else words.octave
    tempo = window_tempo(rhythm.beats, window, octave)
    genre = genre_in_words(options, captioned=backbone.speaks_tempo) if models.encoders is None else None
    if options.rhythm == "words" and models.encoders is None and not backbone.speaks_tempo:
        return describing_prompt(options.prompt, genre, words.say(tempo))
    meaning = genre_meaning(options, models.encoders, models.sound)
    prompt = compose_prompt(options.prompt, genre=meaning is not None)
    if options.rhythm == "words" and not backbone.speaks_tempo:
        prompt = prompt.with_rhythm(words.say(tempo))
    elif options.rhythm == "words":
        prompt = prompt.with_rhythm(rhythm_words(tempo)) if tempo is not None else prompt.without_rhythm()
    return prompt.with_genre(genre) if genre is not None else prompt


def genre_in_words(options: GenerateOptions, *, captioned: bool) -> str | None:
    """What stands for "@" without encoders: the user's words, or the name of captions, or what describes the genre.

    Parameters
    ----------
    options
        Genre and words.
    captioned
        Whether the backbone was trained with captions that named dance genres.
    """
    if options.genre is None or options.genre_words is not None:
        return options.genre_words
    return (GENRE_CODES if captioned else GENRE_WORDS)[options.genre]


def pseudo_words(
    prompt: str, rhythm: Rhythm, window: Window, models: Models, options: GenerateOptions
) -> Mapping[str, Tensor]:
    """Vectors of the placeholders that stand in a prompt: (1, layers, vectors, text_width) each."""
    import torch

    encoders = models.encoders
    if encoders is None:
        if RHYTHM_WORD in prompt:
            raise UsageError(
                "the prompt holds '*', but no encoders are loaded: train them, or say " + option("rhythm", "words")
            )
        return {}
    sequence = torch.from_numpy(rhythm.window(window.start, encoders.grid))[None]
    meaning = genre_meaning(options, encoders, models.sound)
    words = encoders.pseudo_words(sequence, meaning.for_encoder if meaning is not None else None)
    return {word: vectors for word, vectors in words.items() if word in prompt}


def window_tempo(beats: BeatMap, window: Window, octave: tuple[float, float]) -> Tempo | None:
    """The tempo of one window, its first beat counted from the window's start; None where the dance has no beats.

    Parameters
    ----------
    beats
        Of the whole video.
    window
        Where it lies.
    octave
        Beats a minute between which beats are brought first. That has to come before the first beat is counted: of a
        halved tempo every second beat is one, and all windows must mean the same ones.
    """
    return beats.folded(*octave).seen_from(window.start, window.seconds)
