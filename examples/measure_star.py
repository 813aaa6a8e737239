"""Does "*" follow a dance better with its beats than with its accents?

``python -m examples.measure_star FOLDER`` makes music for the first ten seconds of each real dance of FOLDER (that of
``weights/recipes/train_beats.py``; of a song's dances three at most, one camera), with "*" made of the accents of mode
stable and of the beats of mode beats, one take a window, the embedded model. It prints F1 at 70 ms between the music's
beats (librosa's predominant local pulse), and its onsets, and the beats found in the dance; beside it a metronome at
the tempo found, at random phases. Songs weigh alike; intervals are by song. Takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mir_eval
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "weights" / "recipes"))
import train_beats as recipe

from d2m_cli import Generator
from d2m_cli.generation.compose import compose
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.statistics import bootstrap
from d2m_cli.pose.track import Poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from examples.report import onsets, pulse

SECONDS = 10.24
MOST = 3


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    dances = recipe.real_dances(parser.parse_args().folder)
    models = Generator("embedded").models(GenerateOptions())
    rng = np.random.default_rng(0)
    rows: dict[str, dict[str, list[tuple[float, float]]]] = {}
    counts: Counter[str] = Counter()
    for dance in {dance.name: dance for dance in reversed(dances)}.values():
        counts[dance.song] += 1
        if counts[dance.song] > MOST:
            continue
        assert dance.track is not None
        early = dance.track.times < SECONDS
        track = replace(dance.track, times=dance.track.times[early], keypoints=dance.track.keypoints[early])
        poses = Poses((track,), None, SECONDS)
        beats = extract_rhythm(poses).beats
        if not beats.steady:
            print(f"{dance.name}: no steady beat", flush=True)
            continue
        for mode in ("stable", "beats"):
            rhythm = replace(extract_rhythm(poses, RhythmOptions(mode)), mapped=beats)
            options = GenerateOptions(genre_code(dance.song[1:3]), candidates=1)
            music, _ = compose(rhythm, SECONDS, models, options, dance.name, lambda *_: None)
            mono = music.samples.mean(0)
            found = [finds(mono, music.sample_rate) for finds in (pulse, onsets)]
            scores = tuple(float(mir_eval.beat.f_measure(beats.beats, times, 0.07)) for times in found)
            rows.setdefault(mode, {}).setdefault(dance.song, []).append(scores)
        period = 60.0 / beats.bpm
        ticks = [np.arange(rng.uniform(0.0, period), SECONDS, period) for _ in range(40)]
        chance = float(np.mean([mir_eval.beat.f_measure(beats.beats, tick, 0.07) for tick in ticks]))
        rows.setdefault("metronome", {}).setdefault(dance.song, []).append((chance, chance))
        print(
            dance.name,
            {mode: np.round(by_song[dance.song][-1], 2).tolist() for mode, by_song in rows.items()},
            flush=True,
        )
    for mode, by_song in rows.items():
        means = np.array([np.mean(scores, axis=0) for scores in by_song.values()])
        interval = bootstrap(means, list(by_song), lambda value: value)
        cells = [f"{name} {means[:, k].mean():.2f} [{interval.low[k]:.2f}, {interval.high[k]:.2f}]"
                 for k, name in enumerate(("beats", "onsets"))]  # fmt: skip
        print(f"{mode}: " + "; ".join(cells) + f" ({len(means)} songs)")


if __name__ == "__main__":
    main()
