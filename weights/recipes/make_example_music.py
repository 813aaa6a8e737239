"""Render the music of the example dances: pieces of each dance's genre and tempo whose beats are the dance's.

``python make_example_music.py [OUT]`` writes ``<dance>.ogg`` (Opus, mono) for every dance of ``examples/dance`` that has
a tempo, to ``examples/music``. Nothing was trained on these pieces: their seeds begin at 11,000,000.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import soundfile
from arrange import arrange
from render import Player

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))

from dance.choreography import DANCES  # noqa: E402

FIRST_SEED = 11_000_000
COMPRESSION = 0.97
"""libsndfile's scale from 0 to 1: about 14 kbit/s."""


def piece_for(genre: str, bpm: float, seconds: float):
    """The first piece of a genre and tempo."""
    seed = FIRST_SEED
    while True:
        piece = arrange(seed, seconds)
        if piece.genre == genre and piece.bpm == bpm:
            return piece
        seed += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "examples" / "music")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    player = Player(24000)
    for dance in DANCES.values():
        if dance.bpm is None or dance.genre is None:
            continue
        piece = piece_for(dance.genre, dance.bpm, dance.seconds + 4)
        period = 60 / dance.bpm
        # A beat of the piece, some way in, is the dance's first.
        start = round((4 * period - dance.first_beat) * player.rate)
        samples = player.play(piece)[start : start + round(dance.seconds * player.rate)]
        path = arguments.out / f"{dance.name}.ogg"
        soundfile.write(path, samples, player.rate, format="OGG", subtype="OPUS", compression_level=COMPRESSION)
        print(f"{path.name}: {piece.mood} {piece.genre}, {piece.bpm} bpm, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
