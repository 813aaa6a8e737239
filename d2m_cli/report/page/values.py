"""What the report page shows: of one piece of music, and of a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

State = Literal["done", "failed", "not finished", "missing"]


@dataclass(frozen=True)
class Score:
    """How well music keeps time with its dance under one protocol, beside chance.

    Attributes
    ----------
    protocol
        Its name in `d2m_cli.evaluation.rhythm.protocols`.
    f1
        0 to 1.
    hits, dance, music
        Pairs within the tolerance; beats or accents of the dance; beats or onsets of the music.
    tolerance
        Seconds.
    chance, chance_low, chance_high
        Mean F1 of a metronome at the dance's tempo that starts anywhere, and the middle 95 % of its draws.
    """

    protocol: str
    f1: float
    hits: int
    dance: int
    music: int
    tolerance: float
    chance: float
    chance_low: float
    chance_high: float


@dataclass(frozen=True)
class Spectrogram:
    """Loudness by pitch and time.

    Attributes
    ----------
    rate
        Columns a second.
    highest
        Hz of the top of the highest band.
    levels
        (columns, bands) uint8: 0 is `RANGE_DB` or more below the loudest, 255 the loudest.
    """

    rate: float
    highest: float
    levels: NDArray[np.uint8]


@dataclass(frozen=True)
class Skeletons:
    """Dancers at even moments.

    Attributes
    ----------
    rate
        Moments a second.
    frame_size
        (width, height) of the displayed picture in pixels.
    points
        (people, moments, 17, 2) uint16: x and y, `UNSEEN` where the joint was not seen, else in parts of `UNSEEN` - 1
        of the picture's width and height.
    """

    rate: float
    frame_size: tuple[int, int]
    points: NDArray[np.uint16]


@dataclass(frozen=True)
class Take:
    """What is drawn of a take that was kept, in place of what is drawn of the music that was chosen.

    Attributes
    ----------
    number
        From 1.
    music_beats, onsets, ties, scores, spectrogram
        As in `Drawing`.
    """

    number: int
    music_beats: Times
    onsets: Times
    ties: Times
    scores: tuple[Score, ...]
    spectrogram: Spectrogram


@dataclass(frozen=True)
class Drawing:
    """What is drawn under one video.

    Attributes
    ----------
    seconds
        Length of the music.
    accents, dance_beats, music_beats, onsets
        Seconds, rising.
    ties
        (n, 2) seconds: what of the dance and of the music belongs together.
    tied_to_beats
        Whether the ties begin at the dance's beats, or at its accents, where it has no steady beat.
    music_bpm
        Tempo of the music, or None.
    scores
        How well it keeps time; empty where there is nothing to compare.
    spectrogram
        Of the music.
    skeletons
        Of the dancers, or None.
    left_out
        What is not drawn and why, in whole sentences.
    takes
        Those that were kept.
    """

    seconds: float
    accents: Times
    dance_beats: Times
    music_beats: Times
    onsets: Times
    ties: Times
    tied_to_beats: bool
    music_bpm: float | None
    scores: tuple[Score, ...]
    spectrogram: Spectrogram | None
    skeletons: Skeletons | None
    left_out: tuple[str, ...] = ()
    takes: tuple[Take, ...] = ()


Counts = tuple[int, int, int, int, int]
"""How many accents, dance beats, music beats, onsets and ties there are."""


@dataclass(frozen=True)
class TakeHead:
    """What the page itself needs of the drawing of a take.

    Attributes
    ----------
    number
        From 1.
    scores
        As in `Drawing`.
    counts
        Of what is drawn.
    """

    number: int
    scores: tuple[Score, ...]
    counts: Counts


@dataclass(frozen=True)
class Head:
    """What the page itself needs of a drawing; the rest waits in a file beside it until it is in view.

    Attributes
    ----------
    record
        Digest of the record of the music that was drawn.
    scores, left_out, music_bpm
        As in `Drawing`.
    counts
        Of what is drawn; None where nothing is.
    takes
        Those that are drawn.
    """

    record: str
    scores: tuple[Score, ...] = ()
    counts: Counts | None = None
    music_bpm: float | None = None
    left_out: tuple[str, ...] = ()
    takes: tuple[TakeHead, ...] = ()


@dataclass(frozen=True)
class Sound:
    """One music that can be listened to with a picture.

    Attributes
    ----------
    label
        What it is called.
    href
        Where it lies; None is the picture's own sound.
    take
        Of its drawing, if it is a take and was drawn.
    alone
        Where the music lies without a picture, for browsers that can't show it; None where it does not.
    """

    label: str
    href: str | None
    take: TakeHead | None = None
    alone: str | None = None


@dataclass(frozen=True)
class Listed:
    """One result as the page lists it; texts are as shown, links as they stand in the page.

    Attributes
    ----------
    name
        Path of the results without a suffix.
    video
        The input as it was named.
    source
        What results of the same video share.
    state
        What became of it.
    reason
        Why there is no music, or "".
    genre, prompt, negative_prompt, model, licence, seed
        What it was made with; "" where that is not known.
    seconds, bpm, took
        Length of the music, tempo of the dance, and how long it took; None where there is none.
    made_at
        When, as text; "" where that is not known.
    notes
        Remarks and warnings, in whole sentences or nearly.
    facts
        Further (term, text).
    picture
        Link to what shows the dance; None where that is gone.
    sounds
        The music, first the one that was chosen.
    files
        (label, link) of all that was written.
    drawing
        Link to the drawing; None where there is none.
    head
        Of the drawing; None where there is none.
    """

    name: str
    video: str
    source: str
    state: State
    reason: str = ""
    genre: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    licence: str = ""
    seed: str = ""
    seconds: float | None = None
    bpm: float | None = None
    took: float | None = None
    made_at: str = ""
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    picture: str | None = None
    sounds: tuple[Sound, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    drawing: str | None = None
    head: Head | None = None


RANGE_DB = 60.0
"""Decibels from the darkest to the brightest of a spectrogram."""
UNSEEN = 65535
"""Stands for a joint that was not seen."""
