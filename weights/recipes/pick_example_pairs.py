"""Take the small paired set of ``examples/paired`` out of the one that ``make_pairs.py`` made.

``python pick_example_pairs.py PAIRS [OUT]``: 44 songs for training and 12 for validation, 6.6 s of each as Opus, with
the rhythm that ``d2m rhythm`` reads off the dance. Songs are taken in turn by genre.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import soundfile
from make_example_music import COMPRESSION

from d2m_cli.media.audio import load_audio
from d2m_cli.pose.estimator import PoseEstimator
from d2m_cli.pose.io import load_poses
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.io import save_rhythm
from d2m_cli.rhythm.sequence import Rhythm
from d2m_cli.training.data.dataset import Clip, read_dances

ROOT = Path(__file__).resolve().parents[2]
SONGS = {"train": 44, "validation": 12}
SECONDS = 6.6


def chosen(clips: tuple[Clip, ...], count: int) -> list[Clip]:
    """The first dance of each song, genre by genre in turn."""
    first = {clip.song: clip for clip in reversed(clips)}
    genres: dict[str, list[Clip]] = {}
    for clip in sorted(first.values(), key=lambda clip: clip.name):
        genres.setdefault(clip.genre or "", []).append(clip)
    turns = [clip for turn in zip_longest(*genres.values()) for clip in turn if clip is not None]
    return sorted(turns[:count], key=lambda clip: clip.name)


def cut(rhythm: Rhythm, seconds: float) -> Rhythm:
    """The beginning of a rhythm."""
    steps = int(np.ceil(seconds * rhythm.rate)) + 1
    peaks = rhythm.peaks[rhythm.peaks < seconds]
    beats = rhythm.beats
    inside = beats.beats < seconds
    mapped = replace(beats, beats=beats.beats[inside], tempo=beats.tempo[inside])
    return Rhythm(rhythm.envelope[:steps], rhythm.rate, peaks, seconds, rhythm.tempo, rhythm.mode, mapped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "examples" / "paired")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    dances, estimator, options = read_dances(arguments.pairs / "manifest.csv"), None, RhythmOptions()
    lines = ["video,audio,genre,start,song,split"]
    for split, count in SONGS.items():
        for number, clip in enumerate(chosen(dances.of(split), count)):
            name = f"{split}_{number:02}"
            if clip.dance.suffix == ".mp4":
                estimator = estimator or PoseEstimator()
                poses = estimator.estimate(clip.dance)
            else:
                poses = load_poses(clip.dance)
            path = arguments.out / f"{name}.rhythm.json"
            save_rhythm(path, cut(extract_rhythm(poses, options), SECONDS), options)
            # Spaces would take a quarter of the room that these have.
            path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n")
            samples, rate = load_audio(clip.audio)
            first = round(clip.audio_start * rate)
            part = samples[0, first : first + round(SECONDS * rate)]
            path = arguments.out / f"{name}.ogg"
            soundfile.write(path, part, rate, format="OGG", subtype="OPUS", compression_level=COMPRESSION)
            lines.append(f"{name}.rhythm.json,{name}.ogg,{clip.genre},0,{name},{split}")
    (arguments.out / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
