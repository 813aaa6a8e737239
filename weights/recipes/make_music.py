"""Render captioned music: spectrogram pictures as bytes, and one JSON line a piece with all that is known of it.

``python make_music.py OUT --first 0 --count 4000`` writes ``OUT/part-*.npy`` (pieces, 128, 2200) uint8 and
``OUT/part-*.jsonl``. Seeds from 10,000,000 on are held out and never trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from arrange import arrange
from render import Player
from shared import save_array

from d2m_cli.backbones.spectrogram import SpectrogramConfig, picture_from_audio

COLUMNS = 2200
POSITIONS = tuple(round(m / 10.24, 6) for m in (1, 2, 4, 8, *range(12, 26)))
"""Four slow frequencies, and every 0.1 Hz from 72 to 144 bpm: a basis for any beat grid of one window."""

CONFIG = SpectrogramConfig(
    sample_rate=24000, hop_length=240, win_length=1200, n_fft=2048, n_mels=128, max_frequency=12000.0,
    max_value=180.0, sample_scale=1.0, channels=512, patch=(64, 8), position_frequencies=POSITIONS,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--part", type=int, default=250)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    player = Player(CONFIG.sample_rate)
    for first in range(arguments.first, arguments.first + arguments.count, arguments.part):
        pictures, lines = [], []
        for seed in range(first, first + arguments.part):
            piece = arrange(seed, seconds=COLUMNS / 100 + 0.1)
            samples = torch.from_numpy(player.play(piece))[None]
            picture = picture_from_audio(samples, CONFIG)[0, :, :COLUMNS]
            pictures.append((picture * 255).round().to(torch.uint8).numpy())
            lines.append(
                json.dumps(
                    dict(seed=seed, genre=piece.genre, mood=piece.mood, lead=piece.lead, comp=piece.comp, bpm=piece.bpm)
                )
            )
        save_array(arguments.out / f"part-{first}.npy", np.stack(pictures))
        (arguments.out / f"part-{first}.jsonl").write_text("\n".join(lines) + "\n")
        print(first, flush=True)


if __name__ == "__main__":
    main()
