"""From the rhythm of a dance to its music: prompts and pseudo-words, windows, and the takes that are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from d2m_cli.backbones.base import (
    Draw,
    forecast,
    full_prompt,
    full_sampling,
    longest_seconds,
    makes_drafts,
    tempo_words,
    unread_words,
    writes_pieces,
)
from d2m_cli.errors import UsageError
from d2m_cli.generation.alignment import Bounds
from d2m_cli.generation.candidates import Likeness, Score, best_of, score_take
from d2m_cli.generation.desk import Desk
from d2m_cli.generation.finish import breaks_in, finish
from d2m_cli.generation.genre import genre_meaning
from d2m_cli.generation.music import Aside, Music
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.shelf import Shelf
from d2m_cli.generation.snap import Snap, land, slack
from d2m_cli.generation.stitch import stitch
from d2m_cli.generation.windows import Window, candidate_seed, piece_seconds, plan_windows
from d2m_cli.ground.audio_beats import track_beats
from d2m_cli.ground.genres import GENRE_CODES, GENRE_WORDS
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import Report
from d2m_cli.inversion.prompt import (
    CAPTION_OCTAVE,
    GENRE_WORD,
    RHYTHM_WORD,
    Prompt,
    compose_prompt,
    describing_prompt,
    rhythm_words,
)
from d2m_cli.rhythm.sequence import BeatMap, Rhythm, Tempo

if TYPE_CHECKING:
    from torch import Tensor

    from d2m_cli.backbones.base import Backbone, Condition
    from d2m_cli.generation.models import Models

Samples = NDArray[np.float32]

PHRASE = 4
"""Beats of a dance that go on behind its end."""

Tell = Callable[[str], None]
"""Told what a user should know while the work goes on; the same may come more than once."""


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
    rows
        Of the batch that it was drawn in; its bytes hang on that too.
    unread
        The end of the prompt that the text encoder did not read, "" where it read all.
    scores
        Of all takes of the window, in the order they were drawn; none where one was drawn alone.
    kept
        Number of the take among them, from 0.
    """

    window: Window
    prompt: str
    seed: int
    rows: int
    unread: str = ""
    scores: tuple[Score, ...] = ()
    kept: int = 0


def compose(
    rhythm: Rhythm,
    duration: float,
    models: Models,
    options: GenerateOptions,
    content: str,
    report: Report,
    tell: Tell | None = None,
    holds: Sequence[tuple[float, float]] = (),
) -> tuple[Music, tuple[Take, ...]]:
    """Music in the rhythm of a dance.

    Windows are made one after the other: each begins with the end of the one before, so that one piece goes on and its
    beats stay on one grid. Where it is to be snapped there is a little more of it, and it is cut and bent in the end.

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
        Told which words of the prompts the backbone does not read, and how long music takes where that is long.
    holds
        (start, end) in seconds of where the dance holds and the music is to break off.
    """
    import torch

    backbone = models.backbone
    bounds = snap_bounds(rhythm.beats, options)
    made_seconds = duration + (slack(rhythm.beats, duration, bounds) if bounds is not None else 0.0)
    asked = rhythm if bounds is None else continued(rhythm, made_seconds)
    steady = asked.beats.beats if asked.beats.steady else None
    window_seconds, quantum = backbone.window_seconds, backbone.quantum_seconds
    if models.encoders is None:
        # A "*" is made of one window of the dance; a tempo can be told of a whole piece.
        window_seconds = piece_seconds(made_seconds, window_seconds, longest_seconds(backbone), quantum)
    windows = plan_windows(made_seconds, window_seconds, options.overlap_seconds, quantum, steady)
    desk = models.desk or Desk.of(backbone)
    sampling = full_sampling(backbone, options.sampling)
    seconds = window_seconds if writes_pieces(backbone) else None
    if tell is not None:
        # What it costs to find out is for those who listen.
        slow = desk.alone(lambda: forecast(backbone, window_seconds, sampling, options.candidates))
        if slow:
            tell(slow)
    takes: list[Take] = []
    # Of the piece, and of what would be one with each window's first take, its second, and so on.
    shelves = [Shelf() for _ in range(1 + options.kept_candidates)]
    last: Draw | None = None
    likeness = take_likeness(models, options) if options.candidates > 1 else None
    draft = options.candidates > 1 and makes_drafts(backbone)
    with torch.inference_mode():
        negative, unread = desk.alone(partial(_read, backbone, options.negative_prompt, dict))
        _tell_unread(tell, "negative prompt", unread)
        for window in windows:
            report(f"music, window {window.index + 1} of {len(windows)}", window.index / len(windows))
            prompt = window_prompt(asked, window, models, options, goes_on=last is not None).text
            words = partial(pseudo_words, prompt, asked, window, models, options)
            condition, unread = desk.alone(partial(_read, backbone, prompt, words))
            _tell_unread(tell, "prompt", unread)
            before = window.start - windows[window.index - 1].start
            context = last.end(before) if last is not None else None
            seeds = [candidate_seed(options.seed, content, window.index, n) for n in range(options.candidates)]
            drawn = desk.draw(condition, negative, seeds, context, sampling, seconds, draft)
            scores = scored([one.music for one in drawn], asked, window, context, likeness, bounds)
            best = best_of(scores) if scores else 0
            if draft:
                # Chosen by drafts also where all are kept: which one is must not hang on that.
                drawn = desk.in_full(drawn, seeds, range(len(seeds)) if options.kept_candidates else [best])
            last = drawn[best].music
            # Copies: what was drawn lies in one piece of memory with the takes that are left out.
            shelves[0].add(last.audio[0].numpy())
            for shelf, one in zip(shelves[1:], drawn, strict=False):
                shelf.add(one.music.audio[0].numpy())
            takes.append(Take(window, prompt, seeds[best], drawn[best].rows, unread, scores, best))
    rate = backbone.sample_rate
    # What was told of no first beat has its beats elsewhere until it is snapped.
    on_beats = steady if models.encoders is not None or backbone.speaks_tempo else None

    def joined(shelf: Shelf) -> Music:
        samples = stitch(shelf, windows, rate, made_seconds, on_beats)
        shelf.close()
        done: Snap | None = None
        if bounds is not None:
            samples, done = land(samples, rate, rhythm.beats, duration, bounds, in_place=True)
        samples = np.ascontiguousarray(samples)
        return finished(samples, rate, rhythm, duration, options, holds, done, on_beats is not None)

    report("joining windows", 1.0)
    # One after the other, and the piece itself last: none of the others need be in memory beside it.
    candidates = Aside(map(joined, shelves[1:])) if options.kept_candidates else ()
    return replace(joined(shelves[0]), candidates=candidates), tuple(takes)


def continued(rhythm: Rhythm, seconds: float) -> Rhythm:
    """The rhythm of a longer dance: behind its end beats go on at the last tempo, each with a peak.

    The acceleration there is that of the last beats over again.
    """
    beats = rhythm.beats
    if not len(beats.beats) or seconds <= rhythm.duration:
        return rhythm
    bpm = float(beats.tempo[-1])
    more = np.arange(float(beats.beats[-1]) + 60.0 / bpm, seconds, 60.0 / bpm)
    longer = np.concatenate([beats.beats, more])
    mapped = replace(beats, beats=longer, tempo=np.concatenate([beats.tempo, np.full(len(more), bpm)]))
    steps = int(np.ceil(seconds * rhythm.rate - 1e-6)) + 1
    envelope = _repeated(rhythm.envelope, steps, 60.0 / bpm * rhythm.rate)
    last = float(rhythm.peaks[-1]) if len(rhythm.peaks) else 0.0
    peaks = np.concatenate([rhythm.peaks, more[(more >= rhythm.duration) & (more > last)]])
    return replace(rhythm, envelope=envelope, peaks=peaks, duration=seconds, mapped=mapped)


def _repeated(envelope: Samples, length: int, beat: float) -> Samples:
    """(length,) an envelope that goes on with its last beats, of so many steps each, four if it holds as many."""
    count = len(envelope)
    again = min(PHRASE, int(count / beat)) * beat
    if length <= count or not again:
        return np.pad(envelope, (0, max(length - count, 0)))
    at = np.arange(count, length)
    source = at - np.ceil((at - count + 1) / again) * again
    return np.concatenate([envelope, envelope[np.round(source).astype(int)]])


def snap_bounds(beats: BeatMap, options: GenerateOptions) -> Bounds | None:
    """How far music may be bent onto a dance; None where it stays as it is."""
    wanted = {"auto": beats.steady, "on": len(beats.beats) > 0, "off": False}[options.snap]
    return Bounds(steady_only=options.snap == "auto") if wanted else None


def scored(
    made: Sequence[Draw],
    rhythm: Rhythm,
    window: Window,
    context: Draw | None,
    likeness: Callable[[Samples, int], Likeness] | None,
    bounds: Bounds | None,
) -> tuple[Score, ...]:
    """Scores of all takes of a window; none where there is nothing to choose."""
    if len(made) < 2:
        return ()
    before = context.audio[0].numpy() if context is not None else None
    return tuple(
        score_take(take.audio[0].numpy(), take.sample_rate, rhythm, window, before, bounds, likeness) for take in made
    )


def take_likeness(models: Models, options: GenerateOptions) -> Callable[[Samples, int], Likeness] | None:
    """What CLAP makes of a take beside the sound example, and beside the words of the prompt where it can read."""
    listener, sound = models.listener, models.sound
    if listener is None:
        return None
    words = heard_words(options)
    read = listener.read(words) if words and not listener.unable_to_read else None

    def of(samples: Samples, rate: int) -> Likeness:
        heard = listener.embed(samples.mean(0), rate)
        return Likeness(
            float(heard @ sound.embedding[0]) if sound is not None else None,
            float(heard @ read) if read is not None else None,
        )

    return of


def heard_words(options: GenerateOptions) -> str:
    """What was asked for in words that tell of a sound: those of the genre and the user's own; "" without either."""
    genre = options.genre_words or (GENRE_WORDS[options.genre] if options.genre is not None else "")
    own = (options.prompt or "").replace(GENRE_WORD, " ").replace(RHYTHM_WORD, " ")
    parts = [" ".join(part.split()) for part in (genre, *own.split(","))]
    return ", ".join(part for part in parts if part)


def finished(
    samples: Samples,
    rate: int,
    rhythm: Rhythm,
    duration: float,
    options: GenerateOptions,
    holds: Sequence[tuple[float, float]],
    done: Snap | None,
    told: bool = False,
) -> Music:
    """A whole piece, as long as its video: with its breaks, its ending, its loudness and its beats.

    It is made in the memory of `samples`, which are lost: there is no room for a long piece twice.

    It ends on a beat of the dance where it was snapped, or was made for the dance's beats; else on one of its own.
    """
    steady = rhythm.beats.beats if rhythm.beats.steady else None
    bpm = rhythm.beats.bpm or None
    shared = steady is not None and (told or (done is not None and done.landed))
    last_beats = steady if steady is not None and shared else track_beats(samples, rate, bpm)
    breaks = breaks_in(holds, np.zeros(0) if steady is None else steady, duration)
    samples, level = finish(samples, rate, last_beats, options.ending, options.loudness, breaks, out=samples)
    return Music(samples, rate, track_beats(samples, rate, bpm), level, breaks, done)


def _read(backbone: Backbone, prompt: str, encode: Callable[[], Mapping[str, Tensor]]) -> tuple[Condition, str]:
    """What the backbone makes of a prompt and its pseudo-words, and the end of it that it does not read."""
    words = encode()
    return backbone.embed([prompt], words), unread_words(backbone, prompt, words)


def _tell_unread(tell: Tell | None, what: str, unread: str) -> None:
    if unread and tell is not None:
        tell(f"the {what} is longer than the model reads: not read is {unread!r}")


def window_prompt(
    rhythm: Rhythm, window: Window, models: Models, options: GenerateOptions, goes_on: bool = False
) -> Prompt:
    """The prompt of one window as its model reads it; "*" and "@" are in it only where an encoder gives them a vector.

    Parameters
    ----------
    rhythm
        Of the whole video.
    window
        Where it lies.
    models, options
        The networks, and what music to make.
    goes_on
        Whether the window begins with the end of the one before.
    """
    backbone = models.backbone
    words = tempo_words(backbone)
    octave = CAPTION_OCTAVE if backbone.speaks_tempo else words.octave
    tempo = window_tempo(rhythm.beats, window, octave)
    by_words = options.rhythm == "words" or (models.encoders is None and words.suffices)
    prompt = _caption(tempo, models, options, by_words)
    field = tempo if by_words and words.place == "field" else None
    return Prompt(full_prompt(backbone, prompt.text, field, window.seconds, goes_on))


def _caption(tempo: Tempo | None, models: Models, options: GenerateOptions, by_words: bool) -> Prompt:
    """What the music should be like, with tempo or "*" and genre or "@" in it."""
    backbone = models.backbone
    words = tempo_words(backbone)
    genre = genre_in_words(options, captioned=backbone.speaks_tempo) if models.encoders is None else None
    if by_words and models.encoders is None and not backbone.speaks_tempo:
        return describing_prompt(options.prompt, genre, words.say(tempo))
    meaning = genre_meaning(options, models.encoders, models.sound)
    prompt = compose_prompt(options.prompt, genre=meaning is not None)
    if by_words and not backbone.speaks_tempo:
        prompt = prompt.with_rhythm(words.say(tempo))
    elif by_words:
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
