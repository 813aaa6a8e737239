"""Does music keep to the dance as well in fewer denoising steps? The embedded model, as ``d2m generate`` draws it.

``python examples/measure_steps.py OUT [--held 33] [--way 20:leading --way 10:trailing]`` makes music for dances of move
families that no encoder learned from (keypoints; nothing is drawn), one song each, three takes a window, in every way:
so many steps, spaced as diffusers calls it ("trailing" begins with the noise that training ended with). F1 at 70 ms of
tracked beats and of onsets against the true beats, intervals and differences from the first way by song; and how far
the sound lies from that of the example music (KAD), with intervals that leave pieces out in turn. Takes about a minute
of one core for a dance and two ways.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measure_snap import ROOT, chance, difference, held_out, line, scores

from d2m_cli import Generator
from d2m_cli.backbones.base import Sampling
from d2m_cli.evaluation.sound.frechet import median_distance, squared_discrepancy
from d2m_cli.evaluation.sound.listener import Listener
from d2m_cli.generation.compose import compose
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.media.audio import load_audio, save_wav

WAYS = ("20:leading", "10:trailing")


def make(ways: Sequence[str], count: int, out: Path) -> None:
    """Music of all dances in all ways, and what comes of it."""
    models = Generator("embedded").models(GenerateOptions())
    backbone = models.backbone
    config = dict(backbone._scheduler_config)  # type: ignore[attr-defined]
    dances = list(held_out(models, count))
    songs = [dance.song for dance in dances]
    print(f"{count} dances, {len(set(songs))} songs")
    line("metronome, random phase", np.array([chance(dance) for dance in dances]), songs)
    found: dict[str, np.ndarray] = {}
    for way in ways:
        steps, _, spacing = way.partition(":")
        backbone._scheduler_config = config | {"timestep_spacing": spacing or "trailing"}  # type: ignore[attr-defined]
        rows, before = [], time.process_time()
        for dance in dances:
            options = GenerateOptions(dance.genre, rhythm="encoder", ending="none", sampling=Sampling(steps=int(steps)))
            music, _ = compose(dance.for_star, dance.seconds, models, options, dance.name, lambda *_: None)
            rows.append(scores(music.samples, music.sample_rate, dance.beats))
            save_wav(out / way.replace(":", "-") / f"{dance.name}.wav", music.samples, music.sample_rate)
        spent = (time.process_time() - before) / sum(dance.seconds for dance in dances)
        found[way] = np.array(rows)
        line(f"{way}, {10 * spent:.1f} s for 10 s", found[way], songs)
    for way in ways[1:]:
        difference(f"{way} less {ways[0]}", found[way], found[ways[0]], songs)


def sound(ways: Sequence[str], out: Path) -> None:
    """How far each way's sound lies from the example music's, and how much farther than the first's."""
    listener = Listener.load()

    def heard(path: Path) -> np.ndarray:
        return listener.embed(*load_audio(path, mono=True)).astype(np.float64)

    true = np.concatenate([heard(path) for path in sorted((ROOT / "examples").glob("*/*.ogg"))])
    width = median_distance(true)

    def distances(pieces: Sequence[np.ndarray]) -> np.ndarray:
        """Of all, and of all but one in turn."""
        kept = [[one for at, one in enumerate(pieces) if at != left] for left in (None, *range(len(pieces)))]
        return np.array([100 * squared_discrepancy(true, np.concatenate(part), width) for part in kept])

    found = {way: distances([heard(path) for path in sorted((out / way.replace(":", "-")).iterdir())]) for way in ways}
    for way, values in found.items():
        gain = values - found[ways[0]]
        n = len(gain) - 1
        error = 1.96 * float(np.sqrt((n - 1) / n * np.square(gain[1:] - gain[1:].mean()).sum()))
        print(f"  {way}: KAD {values[0]:.1f}, {gain[0]:+.2f} [{gain[0] - error:+.2f}, {gain[0] + error:+.2f}]")


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held", type=int, default=33)
    parser.add_argument("--way", action="append", help=f"STEPS:SPACING; as they come, {' and '.join(WAYS)}")
    given = parser.parse_args()
    ways = given.way or list(WAYS)
    make(ways, given.held, given.out)
    sound(ways, given.out)


if __name__ == "__main__":
    main()
