"""What `d2m train` prepares of a paired set, with one core and with all: rhythms, targets, beats of the music.

::

    python benchmarks/training_data.py                       # 64 rendered dances to 32 songs of half a minute
    python benchmarks/training_data.py --clips 8 --repeats 1 # whether it runs

Each measurement is a process of its own with an empty cache, one core and all by turns. What it imports is not counted,
but what its own worker processes import is. The targets are those of the embedded model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import machine, seconds

from d2m_cli.ground.compiled import librosa_with
from d2m_cli.ground.cores import cores
from d2m_cli.ground.progress import Progress
from d2m_cli.ground.surroundings import thread_variables
from d2m_cli.media.audio import save_wav
from d2m_cli.pose.io import save_poses
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.sequence import RhythmGrid
from d2m_cli.training.data.dance_rhythms import RhythmCache
from d2m_cli.training.data.dataset import read_dances
from d2m_cli.training.data.music_targets import TargetCache
from d2m_cli.training.data.music_tempo import BeatCache

RATE, FPS = 44_100, 30.0
DANCES_A_SONG = 2
PARTS = ("rhythms", "targets", "beats")


def render(folder: Path, count: int, length: float) -> None:
    """Dances of some seconds, each joint of which falls onto every beat, and songs of clicks over noise."""
    rng = np.random.default_rng(0)
    lines = ["video,audio,genre,start,song,split"]
    for number in range(count):
        song = number // DANCES_A_SONG
        bpm, first = 80.0 + song % 60, 0.1 + 0.01 * (song % 40)
        times = np.arange(round(length * FPS)) / FPS
        phase = ((times - first) * bpm / 60) % 1.0
        joints = rng.uniform(100, 200, (1, 17, 3)) + rng.normal(0, 0.5, (len(times), 17, 3))
        joints[..., 1] -= 60 * (4 * phase * (1 - phase))[:, None]
        joints[..., 2] = 1.0
        track = PoseTrack(joints.astype(np.float32), times, (320, 320), 0, "rendered")
        save_poses(folder / f"dance{number}.pose.npz", Poses((track,), None, length))
        if number % DANCES_A_SONG == 0:
            sound = 0.02 * rng.standard_normal((2, round(length * RATE))).astype(np.float32)
            for beat in np.arange(first, length - 0.1, 60 / bpm):
                at = round(beat * RATE)
                sound[:, at : at + 2000] += 0.6 * np.sin(np.arange(2000) / 7) * np.exp(-np.arange(2000) / 400)
            save_wav(folder / f"song{song}.wav", sound, RATE)
        lines.append(f"dance{number}.pose.npz,song{song}.wav,LO,0,song{song},train")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepare(manifest: Path) -> dict[str, float]:
    """Seconds that each part takes here, from an empty cache."""
    from d2m_cli.backbones.registry import choose, open_backbone

    backbone = open_backbone(choose("embedded"), "cpu", "auto")
    librosa_with("beat")
    dances, quiet, grid = read_dances(manifest), Progress(quiet=True), RhythmGrid("beats")
    segments = dances.segments("train", grid.seconds)
    starts: dict[Any, list[float]] = {}
    for segment in segments:
        starts.setdefault(segment.clip, []).append(segment.start)

    def no_video() -> Any:
        raise AssertionError("there is no video")

    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        return {
            "rhythms": seconds(lambda: RhythmCache(cache, grid, no_video).all(list(starts), quiet)),
            "targets": seconds(lambda: TargetCache(cache, backbone).all(starts, quiet)),
            "beats": seconds(lambda: BeatCache(cache).tempi(segments, grid.seconds, quiet)),
        }


def measure(manifest: Path, count: int) -> dict[str, float]:
    """`prepare` with so many cores, in a process of its own."""
    environment = {**os.environ, **thread_variables(), "OMP_NUM_THREADS": str(count)}
    command = [sys.executable, __file__, "--prepare", str(manifest)]
    told = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    return dict(json.loads(told.splitlines()[-1]))


def main() -> None:
    """Render, measure by turns, and print a line for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each dance and song")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=cores(), help="how many count as all")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare is not None:
        print(json.dumps(prepare(options.prepare)))
        return
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render(folder, options.clips, options.seconds)
        rounds = [
            [measure(folder / "manifest.csv", count) for count in (1, options.cores)] for _ in range(options.repeats)
        ]
    for part in PARTS:
        ratios = sorted(one[part] / several[part] for one, several in rounds)
        alone, together = (statistics.median(side[part] for side in sides) for sides in zip(*rounds, strict=True))
        print(
            f"{part} of {options.clips} dances: {alone:.2f} s with one core, {together:.2f} s with {options.cores}: "
            f"{statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
