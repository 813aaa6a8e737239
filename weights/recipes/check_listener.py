"""Hear the listener's figures from sound: held-out pieces, what noise and filters do to distances, generated music.

``python check_listener.py --pieces 120 --generate 60`` renders pieces from seed 10,000,000 on, which no training saw, and
generates windows with the embedded backbone from captions that name a genre. ``--keep FOLDER`` writes one rendered clip
of each genre there, as ``tests/evaluation/held`` has them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from arrange import arrange
from make_music import CONFIG
from render import Player
from scipy.signal import butter, sosfilt

from d2m_cli.backbones.base import Sampling
from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.evaluation.genre.divergence import GENRES, Recording, classify_clip, genre_scores
from d2m_cli.evaluation.sound.embedding import embed_clips
from d2m_cli.evaluation.sound.frechet import fad, fad_infinity, kad
from d2m_cli.evaluation.sound.listener import Listener
from d2m_cli.ground.genres import GENRE_CODES, genre_code

RATE = CONFIG.sample_rate
Clip = tuple[str, np.ndarray, int]


def rendered(first: int, count: int) -> list[tuple[str, Clip]]:
    """Genre and 5.12 s of each of so many pieces, from a random place."""
    player, rng = Player(RATE), np.random.default_rng(0)
    clips = []
    for seed in range(first, first + count):
        piece = arrange(seed, seconds=12.1)
        start = int(rng.integers(0, 5 * RATE))
        samples = player.play(piece)[start : start + round(5.12 * RATE)]
        clips.append((genre_code(piece.genre), (str(seed), samples, RATE)))
    return clips


def generated(count: int) -> list[tuple[str, Clip]]:
    """Windows of the embedded backbone from captions with genre and tempo."""
    backbone = open_backbone(choose("embedded"), "cpu")
    negative = backbone.embed([""], {})
    rng = np.random.default_rng(1)
    clips = []
    for index in range(count):
        code = GENRES[index % len(GENRES)]
        prompt = f"a {GENRE_CODES[code]} music with {int(rng.integers(76, 141))} bpm as the rhythm"
        sound = backbone.generate(backbone.embed([prompt], {}), negative, [index], None, Sampling()).audio[0, 0].numpy()
        clips.append((code, (f"generated {index}", sound, backbone.sample_rate)))
    return clips


def report_genres(listener: Listener, name: str, clips: list[tuple[str, Clip]]) -> None:
    scores = genre_scores(
        listener.name, [classify_clip(listener, Recording(*clip), None, code) for code, clip in clips]
    )
    print(f"{name}: {scores.clips} clips, accuracy {scores.accuracy:.3f}, KLD {scores.kld_label:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listener", type=Path, help="folder of another listener than the one that ships")
    parser.add_argument("--pieces", type=int, default=120)
    parser.add_argument("--first", type=int, default=10_000_000)
    parser.add_argument("--generate", type=int, default=60)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    listener = Listener.load(arguments.listener)
    clips = rendered(arguments.first, arguments.pieces)
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        for code, (_, samples, rate) in reversed(clips):
            path = arguments.keep / f"{code}.ogg"
            soundfile.write(path, samples, rate, format="OGG", subtype="VORBIS", compression_level=0.9)
    report_genres(listener, "rendered, 5.12 s", clips)
    report_genres(
        listener, "rendered, 2.56 s", [(code, (name, s[: len(s) // 2], rate)) for code, (name, s, rate) in clips]
    )
    real = embed_clips([clip for _, clip in clips[0::2]], listener)
    other = [clip for _, clip in clips[1::2]]

    def compare(name: str, altered: list[Clip]) -> None:
        heard = embed_clips(altered, listener)
        line = ", ".join(
            f"{found.kind} {found.value:.2f}" if found.value is not None else f"{found.kind} -"
            for found in (fad(real, heard), fad_infinity(real, heard), kad(real, heard))
        )
        print(f"{len(heard.clips)} clips, {name}: {line}", flush=True)

    clock = time.process_time()
    compare("other pieces as they are", other)
    print(f"seconds of processor time for {len(other)} clips: {time.process_time() - clock:.2f}", flush=True)
    rng = np.random.default_rng(2)
    for level in (-40, -30, -20, -10):
        noisy = [
            (name, s + 10 ** (level / 20) * np.sqrt(np.mean(s**2)) * rng.standard_normal(len(s)), rate)
            for name, s, rate in other
        ]
        compare(f"white noise at {level} dB", noisy)
    for hertz in (8000, 4000, 2000):
        low = butter(6, hertz, fs=RATE, output="sos")
        compare(f"nothing above {hertz} Hz", [(name, sosfilt(low, s), rate) for name, s, rate in other])
    for gain in (4, 16):
        compare(f"clipped at {gain} times the level", [(n, np.clip(gain * s, -1, 1), rate) for n, s, rate in other])
    compare("waack and house only", [clip for code, clip in clips[1::2] if code in ("WA", "HO")])
    if arguments.generate:
        made = generated(arguments.generate)
        report_genres(listener, "generated, 5.12 s", made)
        compare("generated by the embedded backbone", [clip for _, clip in made])


if __name__ == "__main__":
    main()
