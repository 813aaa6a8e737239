"""Words for prompts: the instruments, genres and emotions of the paper's word bank (Fig. 1), with more of each kind."""

from __future__ import annotations

from d2m_cli.ground.genres import GENRE_CODES, GENRE_WORDS

WORD_BANK: dict[str, tuple[str, ...]] = {
    "instruments": (
        "piano", "guitar", "violin", "trumpet", "synth", "flute", "organ", "saxophone", "clavinet", "brass",
        "electric piano", "pad", "strings", "drums", "slap bass", "synth bass", "cello", "harp", "clarinet",
        "marimba", "vibraphone", "congas", "tambourine", "hand claps", "choir",
    ),
    "moods": (
        "joyful", "sad", "relaxing", "energetic", "funky", "dark", "aggressive", "calm", "dreamy", "groovy", "warm",
        "uplifting", "romantic", "mysterious", "epic",
    ),
    "genres": (
        "pop", "electronic", "funk", "disco", "house", "techno", "drum and bass", "hip hop", "trap", "rock", "jazz",
        "soul", "R&B", "reggae", "latin", "salsa", "samba", "afrobeat", "classical", "ambient",
    ),
}  # fmt: skip
"""Kind to words."""

EMBEDDED_KNOWS = frozenset((
    "piano", "guitar", "violin", "trumpet", "synth", "flute", "organ", "saxophone", "clavinet", "brass",
    "electric piano", "pad", "strings", "joyful", "sad", "relaxing", "energetic", "funky", "dark",
))  # fmt: skip
"""Words of the bank that the embedded backbone's captions used as such."""


def bank_lines() -> list[str]:
    """The bank as lines of text: a kind and its words, then each dance genre with what it is told as."""
    lines = []
    for kind, words in WORD_BANK.items():
        lines.append(f"{kind}: " + ", ".join(f"{word}*" if word in EMBEDDED_KNOWS else word for word in words))
    lines.append("* a word that the embedded model was trained with")
    lines.append("")
    lines.append("dance genres, and the words for models that know no dances:")
    lines += [f"{GENRE_CODES[code]} ({code}): {words}" for code, words in GENRE_WORDS.items()]
    return lines
