"""Train, validation and test for sets that do not say: by song, from the song's name alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from d2m_cli.ground.aist import SPLITS, Split

VALIDATION_SHARE, TEST_SHARE = 0.1, 0.1

_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_word(word: str) -> Split | None:
    """The split that a word names ("train", "val", "Test", ...), or None."""
    return _WORDS.get(word.strip().lower())


def split_songs(songs: Iterable[str]) -> dict[str, Split]:
    """Give each song a split: about 80 % train, 10 % validation, 10 % test.

    The hash of a song's name decides, so a song stays where it is when others come or go. Only where that would leave a
    split empty is one song moved: three songs or more fill all splits, two fill train and validation, and a single one
    is trained on.
    """
    place = {song: _place(song) for song in set(songs)}
    order = sorted(place, key=lambda song: (place[song], song))
    if len(order) < 3:
        return dict(zip(order, SPLITS, strict=False))
    groups: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for song in order:
        groups[_by_place(place[song])].append(song)
    for empty in [split for split in SPLITS if not groups[split]]:
        fullest = max(SPLITS, key=lambda split: len(groups[split]))
        # The song nearest to the border moves: places rise from test over validation to train.
        groups[empty].append(groups[fullest].pop(-1 if empty == "train" else 0))
    return {song: split for split, members in groups.items() for song in members}


def _place(song: str) -> float:
    """0 to 1, evenly spread; the same for both ways of writing an umlaut."""
    digest = blake2b(unicodedata.normalize("NFC", song).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _by_place(place: float) -> Split:
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"
