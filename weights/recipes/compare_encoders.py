"""Do trained encoders follow the dance? Loss and beats on dances of which nothing was trained on.

``python compare_encoders.py PAIRS/manifest.csv --cache CACHE trained=run/encoders.safetensors constant=...`` takes the
test part of the set of ``make_pairs.py``: songs, bodies, cameras and families of moves that no other part has, and poses
that the pose network saw in rendered video. The first system named is compared with each of the others.

Loss: Eq. 2 of every window, the same noise and noise levels for all systems, and the first system once more with the
dances of other songs.

Beats: music is made for every dance with one take a window (so that nothing but the condition follows the dance), and
its beats, as `d2m_cli.evaluation` hears them, are matched with the song's true beats. Beside the systems stand encoders
as they are before any training, the tempo in words ("112 bpm", the true one), tempo and first beat of the dance in words,
and a metronome of the true tempo at a random phase. All intervals are 95 %, by song.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch

from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.evaluation.rhythm.detections import Detections
from d2m_cli.evaluation.rhythm.protocols import BEATS70, BEATS200
from d2m_cli.generation.compose import compose
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.statistics import bootstrap, paired_bootstrap
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
from d2m_cli.training.data.dataset import Clip, read_dances
from d2m_cli.training.data.features import FeatureCache
from d2m_cli.training.loop.validation import other_songs, window_losses
from d2m_cli.training.run import grid_of

Rows = dict[str, list[np.ndarray]]


def same(means: np.ndarray) -> np.ndarray:
    """Figures that are means themselves."""
    return means


def losses(backbone, features: FeatureCache, clips, systems: Mapping[str, Encoders], draws: int) -> None:
    """Eq. 2 on the test windows."""
    windows, _ = features.windows(clips, Progress(quiet=True))
    assert windows is not None
    songs = [segment.clip.song for segment in windows.segments]
    found = {name: window_losses(encoders, backbone, windows, draws) for name, encoders in systems.items()}
    first = next(iter(systems))
    found["with other songs' dances"] = window_losses(systems[first], backbone, windows, draws, other_songs(windows))
    print(f"\nEq. 2 on {len(windows)} windows of {len(set(songs))} songs, {draws} draws each")
    for name, values in found.items():
        line = f"{name:28} {values.mean():.4f}"
        if name != first:
            less = paired_bootstrap(values[:, None], found[first][:, None], songs, same)
            line += f"   more than {first} by {less.difference[0]:.4f}"
            line += f" [{less.interval.low[0]:.4f}, {less.interval.high[0]:.4f}]"
        print(line, flush=True)


def beats(
    backbone, features: FeatureCache, clips: list[Clip], systems: Mapping[str, Encoders], out: Path | None
) -> None:
    """Beats of the music made for each test dance against the song's true beats."""
    first = next(iter(systems))
    torch.manual_seed(0)
    untrained = Encoders(EncoderConfig(backbone.name, backbone.fingerprint, backbone.text_width, features.grid)).eval()
    rng = np.random.default_rng(0)
    rows: Rows = {}
    for clip in clips:
        truth = json.loads(clip.dance.with_suffix(".truth.json").read_text())
        true = Detections.at(np.asarray(truth["beats"]), clip.seconds, truth["bpm"])
        rhythm, content = features.rhythm(clip), content_digest(clip.dance)

        def score(heard: Detections, true: Detections = true) -> np.ndarray:
            counts = [(protocol, protocol.count(true, heard)) for protocol in (BEATS70, BEATS200)]
            return np.array([protocol.ratios(count)[2] for protocol, count in counts])

        plain = GenerateOptions(clip.genre, candidates=1)
        words = f"a @ music with {truth['bpm']:.0f} bpm as the rhythm"
        wanted = {name: (encoders, plain) for name, encoders in {**systems, "before training": untrained}.items()}
        wanted["tempo in words"] = (None, GenerateOptions(clip.genre, words, candidates=1))
        wanted["tempo and first beat in words"] = (None, GenerateOptions(clip.genre, rhythm="words", candidates=1))
        for name, (encoders, options) in wanted.items():
            models = Models(None, backbone, encoders)
            music, _ = compose(rhythm, clip.seconds, models, options, content, lambda *_: None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                heard = Detections.from_audio(music.samples, music.sample_rate)
            rows.setdefault(name, []).append(score(heard))
        period = 60 / truth["bpm"]
        ticks = [np.arange(rng.random() * period, clip.seconds, period) for _ in range(100)]
        chance = np.mean([score(Detections.at(tick, clip.seconds, truth["bpm"])) for tick in ticks], axis=0)
        rows.setdefault("metronome, random phase", []).append(chance)
        print(clip.name, {name: round(float(found[-1][0]), 2) for name, found in rows.items()}, flush=True)
    songs = [clip.song for clip in clips]
    print(f"\nF1 of beats on {len(clips)} dances")
    table = {}
    for name, found in rows.items():
        values = np.array(found)
        mean, interval = values.mean(0), bootstrap(values, songs, same)
        line = f"{name:30} 70 ms {mean[0]:.3f} [{interval.low[0]:.3f}, {interval.high[0]:.3f}]"
        line += f"   200 ms {mean[1]:.3f} [{interval.low[1]:.3f}, {interval.high[1]:.3f}]"
        if name != first:
            more = paired_bootstrap(np.array(rows[first]), values, songs, same)
            line += (
                f"   {first} more by {more.difference[0]:.3f} [{more.interval.low[0]:.3f}, {more.interval.high[0]:.3f}]"
            )
        print(line)
        table[name] = {"f70": values[:, 0].tolist(), "f200": values[:, 1].tolist()}
    if out is not None:
        out.write_text(json.dumps(table, indent=1) + "\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("systems", nargs="+", metavar="NAME=ENCODERS")
    parser.add_argument("--cache", type=Path, default=Path("d2m_train/cache"))
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--split", default="test")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-music", action="store_true", help="losses only")
    parser.add_argument("--json", type=Path, help="F1 of each dance")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbone = open_backbone(choose(arguments.backbone), "auto")
    systems = {}
    for system in arguments.systems:
        name, _, path = system.partition("=")
        systems[name] = Encoders.load(Path(path))
        systems[name].check(backbone)
    grid = grid_of("stable")

    @cache
    def dancers() -> PoseEstimator:
        return PoseEstimator(PoseOptions())

    features = FeatureCache(arguments.cache, backbone, grid, dancers)
    dances = read_dances(arguments.manifest)
    losses(backbone, features, dances.segments(arguments.split, grid.seconds), systems, arguments.draws)
    if not arguments.no_music:
        clips = [clip for clip in dances.clips if clip.split == arguments.split]
        beats(backbone, features, clips, systems, arguments.json)


if __name__ == "__main__":
    main()
