"""Captions in plain words, their tokenizer, and the rhythm words inside them.

A caption is a list of words in which a number is one token ("112", "0.32"). Numbers start out as smooth functions of
their value, so that a tempo never seen in training lies between its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from arrange import COMPS, GENRES, LEADS, MOODS, TEMPO_RANGE

COUNTS = ("one", "two", "three", "four")
TEMPI = tuple(str(bpm) for bpm in range(TEMPO_RANGE[0], TEMPO_RANGE[1] + 1))
PHASES = tuple(f"{hundredth / 100:.2f}" for hundredth in range(84))
MAX_TOKENS = 48
OTHER_WORDS = """
slow fast soft loud warm bright heavy light deep smooth happy calm aggressive groovy electronic acoustic drums bass beat
melody song track tune solo riff chords groove party dance street club night summer city dancer performance upbeat chill
lively easy instrumental arrangement with and in of the for on at to by from this that is it an very some like style
classic modern vintage old new big small little high low good great rhythm tempo time seconds minute jazz rock blues
soul disco reggae latin classical hip hop rap techno trance ambient orchestra choir voice vocal singer hands clap
snare kick hat cymbal tambourine bells harp cello clarinet horn banjo harmonica ukulele accordion percussion
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Facts:
    """What a caption may tell of one window. ``first_beat`` in seconds, ``count`` 0 to 3 is its place in the bar."""

    genre: str
    mood: str
    lead: str | None
    comp: str | None
    bpm: int
    first_beat: float
    count: int


def rhythm_words(facts: Facts, tempo: bool = True, phase: bool = True, count: bool = False) -> str:
    """The rhythm in words, as in "112 bpm and first beat at 0.32 seconds on count three"."""
    parts = []
    if tempo:
        parts.append(f"{facts.bpm} bpm")
    if phase:
        hundredths = min(round(facts.first_beat * 100), len(PHASES) - 1)
        parts.append(
            f"first beat at {hundredths / 100:.2f} seconds" + (f" on count {COUNTS[facts.count]}" if count else "")
        )
    return " and ".join(parts)


@dataclass(frozen=True)
class Caption:
    """Text, and what it tells: the facts that a reader of the text alone could know."""

    text: str
    tells: frozenset[str]
    pooled: tuple[str, ...] = ()
    """Number words whose embeddings are summed at the placeholder "*" of the text."""


def caption(facts: Facts, rng: np.random.Generator, rhythm_only: bool = False) -> Caption:
    """Draw one wording; every part may be missing, in any of the forms that users write."""
    if rhythm_only:
        facts = replace(facts, lead=None, comp=None)
    elif rng.random() < 0.08:
        return Caption("", frozenset())
    tells: set[str] = set()
    genre = ""
    if not rhythm_only and rng.random() < 0.65:
        genre, tells = facts.genre, tells | {"genre"}
    describe = []
    if not rhythm_only and rng.random() < 0.6:
        describe.append(facts.mood)
        tells.add("mood")
    if facts.lead and rng.random() < 0.75:
        describe.append(facts.lead)
        tells.add("lead")
    if facts.comp and rng.random() < 0.35:
        describe.append("with " + facts.comp)
        tells.add("comp")
    if not rhythm_only and rng.random() < 0.2:
        describe.insert(int(rng.integers(len(describe) + 1)), str(rng.choice(OTHER_WORDS)))
    words = " ".join(describe)
    draw = rng.random()
    tempo, phase = (True, True) if draw < 0.75 else (True, False) if draw < 0.87 else (False, False)
    count = phase and rng.random() < 0.4
    pooled: tuple[str, ...] = ()
    if tempo:
        tells.add("tempo")
    if phase:
        tells.add("phase")
    if count:
        tells.add("count")
    rhythm = rhythm_words(facts, tempo, phase, count)
    form = rng.random()
    if rhythm and phase and rng.random() < 0.45:
        pooled = (str(facts.bpm), f"{min(round(facts.first_beat * 100), len(PHASES) - 1) / 100:.2f}")
        if count:
            pooled += (COUNTS[facts.count],)
        rhythm, form = "*", 0.0
    if form < 0.55:
        text = (
            f"a {genre} music" + (f" with {rhythm} as the rhythm" if rhythm else "") + (f", {words}" if words else "")
        )
    elif form < 0.8:
        text = f"{words} {genre} music" + (f" at {rhythm}" if rhythm else "")
    else:
        text = ", ".join(part for part in (words, genre, f"at {rhythm}" if rhythm else "") if part)
    return Caption(" ".join(text.split()), frozenset(tells), pooled)


def build_tokenizer(folder: Path):
    """Train the byte-pair vocabulary on the caption's words; numbers are whole tokens. Saved in CLIP's layout."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    words = " ".join((*GENRES, *LEADS, *COMPS, *MOODS, *COUNTS, *OTHER_WORDS)).replace("-", " - ")
    frame = "a music with as the rhythm bpm and first beat at seconds on count , . * @ - "
    trainer = trainers.BpeTrainer(
        vocab_size=4000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|startoftext|>", "<|endoftext|>"], show_progress=False,
    )  # fmt: skip
    raw = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.train_from_iterator([frame, words], trainer)
    import json

    model = json.loads(raw.to_str())["model"]
    specials = ["<|startoftext|>", "<|endoftext|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(specials)}
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    for token in (*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(merge) for merge in merges)):
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    numbers = [
        AddedToken(word, single_word=True, lstrip=False, rstrip=False, normalized=True) for word in (*TEMPI, *PHASES)
    ]
    tokenizer.add_tokens(numbers)
    tokenizer.save_pretrained(folder)
    return tokenizer


def number_features(width: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Smooth starting vectors (width,) of all number words: a random rotation of sinusoids of their value."""
    rng = np.random.default_rng(seed)
    basis = [m / 10.24 for m in range(12, 26, 2)]
    out: dict[str, np.ndarray] = {}
    tempo_map = rng.normal(size=(16, width)) / 4
    phase_map = rng.normal(size=(4 * len(basis), width)) / np.sqrt(4 * len(basis))
    for word in TEMPI:
        value = (int(word) - TEMPO_RANGE[0]) / (TEMPO_RANGE[1] - TEMPO_RANGE[0])
        angles = np.pi * value * np.array([0.5, 1, 2, 3, 4, 6, 8, 12])
        out[word] = np.concatenate([np.cos(angles), np.sin(angles)]) @ tempo_map
    for word in PHASES:
        angles = 2 * np.pi * float(word) * np.array(basis)
        features = np.concatenate([np.cos(angles), np.sin(angles), np.cos(2 * angles), np.sin(2 * angles)])
        out[word] = features @ phase_map
    return out
