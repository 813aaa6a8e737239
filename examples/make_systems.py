"""Music of several systems for the example dances, for ``d2m eval`` to compare.

``python examples/make_systems.py OUT`` writes ``OUT/star`` (the encoders' "*"), ``OUT/words`` (the true tempo in words
and nothing of the beat), ``OUT/spoken`` (the tempo and first beat that were read off the dance, in words) and
``OUT/metronome`` (clicks at the true tempo from a random phase on), one .wav a dance.
Then::

    d2m eval OUT/star --name star --system words=OUT/words --system metronome=OUT/metronome \\
        --system true=examples/music --reference examples/music --clips examples/clips.csv

``--backbone`` takes another backbone; without encoders for it there is no ``star``. ``--candidates 1`` makes one take a
window, so that nothing but the prompt follows the dance.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from d2m_cli import Generator
from d2m_cli.generation.compose import compose
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.genres import genre_code
from d2m_cli.media.audio import save_wav
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm

EXAMPLES = Path(__file__).parent
RATE = 24000


def clicks(bpm: float, phase: float, seconds: float) -> np.ndarray:
    """(1, n) short falling tones, the first after `phase` of a period."""
    samples = np.zeros(round(seconds * RATE), np.float32)
    clock = np.arange(round(0.06 * RATE)) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 1000 * clock) * np.exp(-clock / 0.012)
    for beat in np.arange(phase * 60 / bpm, seconds, 60 / bpm):
        at = round(beat * RATE)
        samples[at : at + len(tone)] += tone[: len(samples) - at]
    return samples[None]


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--encoders", type=Path)
    arguments = parser.parse_args()
    generator = Generator(arguments.backbone, arguments.encoders)
    # A backbone without encoders has the systems "words" and "spoken" alone.
    trained = arguments.encoders is not None or generator.choice.encoders is not None
    models = generator.models(GenerateOptions(rhythm="encoder" if trained else "words"))
    plain = Models(models.poses, models.backbone, None)
    rng = np.random.default_rng(arguments.seed)
    for truth_path in sorted((EXAMPLES / "videos").glob("*.truth.json")):
        truth = json.loads(truth_path.read_text())
        if not truth["beats"]:
            continue
        name = truth_path.name.removesuffix(".truth.json")
        video = truth_path.with_name(f"{name}.mp4")
        poses = models.poses.estimate(video)
        rhythm, genre = extract_rhythm(poses, RhythmOptions()), genre_code(truth["genre"])
        words = f"a @ music with {truth['bpm']:.0f} bpm as the rhythm"
        wanted = {"words": (plain, words, "encoder"), "spoken": (plain, None, "words")}
        if models.encoders is not None:
            wanted["star"] = (models, None, "encoder")
        for system, (networks, prompt, by) in wanted.items():
            options = GenerateOptions(genre, prompt, rhythm=by, candidates=arguments.candidates, seed=arguments.seed)
            music, _ = compose(rhythm, poses.duration, networks, options, content_digest(video), lambda *_: None)
            save_wav(arguments.out / system / f"{name}.wav", music.samples, music.sample_rate)
        ticks = clicks(truth["bpm"], float(rng.random()), poses.duration)
        save_wav(arguments.out / "metronome" / f"{name}.wav", ticks, RATE)
        print(name, flush=True)


if __name__ == "__main__":
    main()
