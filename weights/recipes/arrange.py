"""Procedural arrangements in the ten AIST++ genres, with everything a caption can say known exactly.

An :class:`Arrangement` is a list of notes on a clock of sixteenth steps. It is drawn from a seeded generator, so that
the same seed gives the same piece. Nothing here knows about audio: :mod:`render` plays it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

GENRES: dict[str, dict] = {
    # kick / snare / closed hat / open hat, one bar of sixteen steps; "." is a rest, digits are velocities in tenths.
    "break": dict(
        drums=[("9...5...9.7.5...", "....9..4.4..9...", "7.7.7.7.7.7.7.7.", "................"),
               ("9.7.5.....9.5...", "....9....4..9..4", "75757575 7575757".replace(" ", ""), "..............6.")],
        comps=("clavinet", "brass", "organ"), bass=(34, 33), swing=0.0, sevenths=False, styles=("stab", "funk")),
    "house": dict(
        drums=[("9...9...9...9...", "....8.......8...", "5.5.5.5.5.5.5.5.", "..7...7...7...7."),
               ("9...9...9...9...", "....8.......8..4", "................", "..8...8...8...8.")],
        comps=("electric piano", "pad", "organ"), bass=(38, 39), swing=0.0, sevenths=True, styles=("offbeat", "pad")),
    "ballet jazz": dict(
        drums=[("8...6...8...6...", "....6.......6...", "7...6..57...6..5", "................"),
               ("8.......8...5...", "....6.......6...", "7.5.6.5.7.5.6.5.", "................")],
        comps=("electric piano", "strings"), bass=(32, 35), swing=0.3, sevenths=True, styles=("pad", "pulse")),
    "street jazz": dict(
        drums=[("9..5..7.8...5...", "....9.......9..4", "6.6.6.6.6.6.6.6.", "................"),
               ("9...5..79...5...", "....9.......9...", "6464646464646464", "..............6.")],
        comps=("electric piano", "brass", "strings"), bass=(33, 36), swing=0.1, sevenths=True, styles=("stab", "pad")),
    "krump": dict(
        drums=[("9...6..99...6.7.", "....9.......9...", "6...6...6...6...", "................"),
               ("9..97...9..97...", "....9.......9.77", "5.5.5.5.5.5.5.5.", "................")],
        comps=("brass", "strings"), bass=(38, 39), swing=0.0, sevenths=False, styles=("stab", "pulse")),
    "la style hip-hop": dict(
        drums=[("9..7..5.9..7..5.", "....9.......9...", "6566656665666566", "................"),
               ("9..5...79.7.5...", "....9.......9...", "6.6.66666.6.6666", "..............6.")],
        comps=("electric piano", "pad", "strings"), bass=(39, 38), swing=0.0, sevenths=False, styles=("pulse", "pad")),
    "lock": dict(
        drums=[("9.5.6...9.7.6...", "....9..4.4..9..4", "7575757575757575", "................"),
               ("9..56..59..56...", "....9....5..9...", "7.757.757.757.75", "..............6.")],
        comps=("clavinet", "brass", "organ"), bass=(36, 37), swing=0.05, sevenths=True, styles=("funk", "stab")),
    "middle hip-hop": dict(
        drums=[("9...5..69.6.5...", "....9.......9...", "6.6.6.6.6.6.6.6.", "................"),
               ("9.....6.9...5...", "....9.......9..4", "6.646.646.646.64", "................")],
        comps=("electric piano", "strings", "organ"), bass=(33, 32), swing=0.25, sevenths=True, styles=("pad", "stab")),
    "pop": dict(
        drums=[("9...7...9...7...", "....9.......9...", "6.6.6.6.6.6.6.6.", "................"),
               ("9...6.6.9...6...", "....9.......9...", "6.6.6.6.6.6.6.6.", "..............7.")],
        comps=("pad", "electric piano", "strings"), bass=(33, 38), swing=0.0, sevenths=False, styles=("pulse", "pad")),
    "waack": dict(
        drums=[("9...9...9...9...", "....9.......9...", "6.5.6.5.6.5.6.5.", "..7...7...7...7."),
               ("9...9...9...9...", "....9..4....9..4", "6565656565656565", "..8...8...8...8.")],
        comps=("strings", "brass", "electric piano"), bass=(33, 36), swing=0.0, sevenths=False,
        styles=("offbeat", "funk")),
}  # fmt: skip
"""How each genre plays; the names are the ten genres of AIST++."""

LEADS: dict[str, tuple[tuple[int, ...], int]] = {
    "piano": ((0, 1), 72), "guitar": ((27, 25), 64), "violin": ((40,), 74), "trumpet": ((56,), 70),
    "synth": ((81, 80), 70), "flute": ((73,), 78), "organ": ((16, 18), 70), "saxophone": ((65, 66), 66),
}  # fmt: skip
"""Lead instruments: General MIDI programs and the middle of their range."""

COMPS: dict[str, int] = {
    "clavinet": 7, "brass": 61, "organ": 17, "electric piano": 4, "pad": 89, "strings": 48,
}  # fmt: skip

MOODS = ("joyful", "sad", "relaxing", "energetic", "funky", "dark")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 3), (3, 4, 0, 0), (0, 3, 0, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 4), (0, 0, 3, 4), (0, 5, 6, 0)),
}
COMP_RHYTHMS = {
    "pad": "9...............", "stab": "9.....7...9.....", "offbeat": "..8...8...8...8.",
    "pulse": "8.6.8.6.8.6.8.6.", "funk": "9..6.67..67.6.6.",
}  # fmt: skip
LEAD_RHYTHMS = (
    "9...7.8.9.......", "9.7.8...7.8.9...", "..8.7.8.9...7...", "9...8...7...8...", "9.8.7.8.9.8.7.8.", "9.......7.8.9...",
)  # fmt: skip
TEMPO_RANGE = (72, 144)
"""One octave of whole bpm: any danced tempo has an octave in it."""


@dataclass(frozen=True)
class Note:
    """One note: MIDI channel and pitch, velocity, start and length in seconds."""

    channel: int
    pitch: int
    velocity: int
    start: float
    length: float


@dataclass(frozen=True)
class Arrangement:
    """One piece and what can be said of it."""

    genre: str
    mood: str
    lead: str | None
    comp: str | None
    bpm: int
    programs: dict[int, int]
    notes: list[Note] = field(repr=False)
    beats: np.ndarray = field(repr=False)
    seconds: float


def _steps(pattern: str) -> list[tuple[int, float]]:
    return [(index, int(mark) / 9) for index, mark in enumerate(pattern) if mark != "."]


def arrange(seed: int, seconds: float = 22.0) -> Arrangement:
    """Draw one piece of at least ``seconds`` from a seed; the first beat, a downbeat, is at 0."""
    rng = np.random.default_rng(seed)
    genre = str(rng.choice(list(GENRES)))
    style = GENRES[genre]
    bpm = int(rng.integers(TEMPO_RANGE[0], TEMPO_RANGE[1]))
    mood = str(rng.choice(MOODS))
    names = list(LEADS)
    weights = np.array([3, 3, 3, 3, 3, 1, 1, 1.0])
    lead = None if rng.random() < 0.08 else str(rng.choice(names, p=weights / weights.sum()))
    comp = None if mood == "relaxing" and rng.random() < 0.3 else str(rng.choice(style["comps"]))
    mode = {
        "joyful": "major",
        "sad": "minor",
        "relaxing": "major",
        "energetic": "major",
        "funky": "minor",
        "dark": "minor",
    }[mood]
    scale = SCALES[mode]
    tonic = int(rng.integers(-5, 7))
    progression = PROGRESSIONS[mode][rng.integers(5)]
    kick, snare, hat, open_hat = style["drums"][rng.integers(2)]
    comp_style = (
        "funk" if mood == "funky" else "pad" if mood in ("sad", "relaxing") else str(rng.choice(style["styles"]))
    )
    motifs = [LEAD_RHYTHMS[rng.integers(3 if mood in ("sad", "relaxing", "dark") else 6)] for _ in range(2)]
    if mood in ("sad", "relaxing"):
        hat = "".join(mark if index % 4 == 0 else "." for index, mark in enumerate(hat))
    loud = {"energetic": 1.0, "funky": 0.95, "joyful": 0.9, "dark": 0.9, "sad": 0.8, "relaxing": 0.75}[mood]
    step = 15.0 / bpm
    bars = int(np.ceil(seconds / (16 * step)))
    notes: list[Note] = []

    def at(bar: int, index: int) -> float:
        late = style["swing"] * step if index % 2 else 0.0
        return max(0.0, (bar * 16 + index) * step + late + rng.normal(0, 0.003))

    def pitch(degree: int, base: int) -> int:
        return base + tonic + scale[degree % 7] + 12 * (degree // 7)

    middle = LEADS[lead][1] if lead else 70
    phrase = [int(rng.integers(-3, 5)) for _ in range(32)]
    octave = -12 if mood == "dark" else 0
    for bar in range(bars):
        root = progression[bar % 4]
        fill = bar % 4 == 3 and rng.random() < 0.5
        for pattern, key in (
            (kick, 36),
            (snare, 39 if genre in ("house", "la style hip-hop") else 38),
            (hat, 42),
            (open_hat, 46),
        ):
            for index, strength in _steps(pattern):
                volume = (118 if key in (36, 38, 39) else 84) * strength * (loud if key != 36 else 1.0)
                notes.append(Note(9, key, int(np.clip(volume + rng.normal(0, 4), 15, 127)), at(bar, index), 0.1))
        if fill:
            for index in (13, 14, 15):
                notes.append(Note(9, int(rng.choice([45, 47, 50])), 85, at(bar, index), 0.1))
        if bar % 4 == 0 and rng.random() < 0.5:
            notes.append(Note(9, 49, 80, at(bar, 0), 0.3))
        bass_pitch = pitch(root, 36) + (12 if pitch(root, 36) < 34 else 0)
        for index, strength in _steps(kick):
            jump = 12 if genre in ("waack", "house") and index % 4 == 2 else 0
            notes.append(Note(1, bass_pitch + jump, int(70 + 30 * strength), at(bar, index), step * 2.5))
        if comp_style in ("funk", "offbeat") or genre == "waack":
            for index in (6, 14):
                notes.append(Note(1, bass_pitch + 12, 78, at(bar, index), step * 1.2))
        if comp:
            size = 4 if style["sevenths"] else 3
            length = 15.5 * step if comp_style == "pad" else step * 1.6
            for index, strength in _steps(COMP_RHYTHMS[comp_style]):
                start = at(bar, index)
                for tone in range(size):
                    notes.append(Note(2, pitch(root + 2 * tone, 54), int(48 + 22 * strength), start, length))
        if lead and not (bar % 8 == 7 and rng.random() < 0.3):
            hits = _steps(motifs[bar % 2])
            for number, (index, strength) in enumerate(hits):
                following = hits[number + 1][0] if number + 1 < len(hits) else 16
                degree = root + phrase[(bar % 4) * 8 + number % 8]
                volume = int(np.clip((88 + 30 * strength) * (0.9 + 0.1 * loud), 40, 127))
                notes.append(
                    Note(
                        0,
                        pitch(degree, middle - middle % 12) + octave,
                        volume,
                        at(bar, index),
                        (following - index) * step * 0.92,
                    )
                )
    programs = {1: int(rng.choice(style["bass"]))}
    if lead:
        programs[0] = int(rng.choice(LEADS[lead][0]))
    if comp:
        programs[2] = COMPS[comp]
    beats = np.arange(bars * 4) * 60.0 / bpm
    return Arrangement(genre, mood, lead, comp, bpm, programs, notes, beats, bars * 16 * step)
