"""Does the music follow the dance? Beats of generated music against the true beats of the example dances.

``python examples/report.py [--seeds 3] [--candidates 3]`` makes music for every video in ``examples/videos`` that
has true beats: with the encoders' "*", with the dance's tempo and first beat in words, and with the true tempo alone.
Beside them stands a metronome at the true tempo and a random phase (chance; mean of 200). For each it reports F1
between onsets (librosa with LORIS's settings) or beats (librosa's predominant local pulse, which generation itself does
not use) and the true beats, at 0.2 s and 0.07 s: the mean over videos with a 95 % bootstrap interval by video. At the
end it says what the seams between windows are like.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import librosa
import mir_eval
import numpy as np

from d2m_cli import Generator
from d2m_cli.generation.compose import Take, compose
from d2m_cli.generation.models import Models
from d2m_cli.generation.music import Music
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.genres import genre_code
from d2m_cli.pose.estimator import PoseEstimator, PoseOptions
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm

VIDEOS = Path(__file__).parent / "videos"
TOLERANCES = (0.2, 0.07)


def onsets(samples: np.ndarray, rate: int) -> np.ndarray:
    """Onset times in seconds with the peak picking of LORIS's public code, at 22.05 kHz."""
    audio = librosa.resample(samples, orig_sr=rate, target_sr=22050)
    picking = dict(wait=1, delta=0.2, pre_avg=3, post_avg=3, pre_max=3, post_max=3)
    return librosa.onset.onset_detect(y=audio, sr=22050, units="time", **picking)


def pulse(samples: np.ndarray, rate: int) -> np.ndarray:
    """Beat times in seconds as peaks of librosa's predominant local pulse, 60 to 180 bpm."""
    audio = librosa.resample(samples, orig_sr=rate, target_sr=22050)
    curve = librosa.beat.plp(y=audio, sr=22050, tempo_min=60, tempo_max=180)
    frames = np.flatnonzero(librosa.util.localmax(curve) & (curve > 0.1 * curve.max()))
    return librosa.frames_to_time(frames, sr=22050)


def scores(estimated: dict[str, np.ndarray], beats: np.ndarray) -> dict[str, float]:
    """F1 by kind and tolerance."""
    return {
        f"{kind}@{tolerance}": mir_eval.beat.f_measure(beats, times, tolerance)
        for kind, times in estimated.items()
        for tolerance in TOLERANCES
    }


def seams(music: Music, takes: Sequence[Take]) -> list[tuple[float, float, float]]:
    """For every seam: level step in dB, the 99th percentile of such steps elsewhere, and how far beats slip in seconds.

    A level step is the difference of level between two 50 ms frames. The slip is the distance, on one grid, between the
    three beats before the overlap and the three after it.
    """
    mono, rate = music.samples.mean(0), music.sample_rate
    size = rate // 20
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    level = 10 * np.log10(np.mean(frames**2, 1) + 1e-5)
    steps, times = np.abs(np.diff(level)), (np.arange(len(level) - 1) + 1) / 20
    beats = music.beats
    period = float(np.median(np.diff(beats)))
    inside = np.ones(len(times), bool)
    overlaps = [(take.window.start, last.window.end) for last, take in pairwise(takes)]
    for start, end in overlaps:
        inside &= (times < start) | (times > end)
    found = []
    for start, end in overlaps:
        here = (times >= start) & (times <= end)
        before, after = beats[beats < start][-3:], beats[beats > end][:3]
        slip = 0.0
        if len(before) and len(after):
            steps_between = (after[:, None] - before[None]) / period
            slip = abs(float(np.median(steps_between - np.round(steps_between)))) * period
        found.append((float(np.quantile(steps[here], 0.99)), float(np.quantile(steps[inside], 0.99)), slip))
    return found


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean with a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (2000, len(values))).mean(1)
    return float(np.mean(values)), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--encoders", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    models = Generator(arguments.backbone, arguments.encoders).models(GenerateOptions())
    wordy = Models(models.poses, models.backbone, None)
    estimator = PoseEstimator(PoseOptions())
    rng = np.random.default_rng(1)
    rows: dict[str, dict[str, list[float]]] = {}
    joins: dict[str, list[tuple[float, float, float]]] = {}

    def note(system: str, found: list[dict[str, float]]) -> None:
        for key in found[0]:
            rows.setdefault(system, {}).setdefault(key, []).append(float(np.mean([one[key] for one in found])))

    for path in sorted(VIDEOS.glob("*.mp4")):
        truth: dict[str, Any] = json.loads(path.with_suffix(".truth.json").read_text())
        if not truth.get("beats"):
            continue
        poses = estimator.estimate(path)
        rhythm = extract_rhythm(poses, RhythmOptions())
        beats = np.asarray(truth["beats"])
        danced = rhythm.tempo
        print(path.stem, f"true {truth['bpm']} bpm, danced", danced, f"{len(rhythm.peaks)} peaks", flush=True)
        peaks = scores({"peaks": rhythm.peaks}, beats)
        print("  rhythm peaks against true beats:", {key: round(value, 2) for key, value in peaks.items()}, flush=True)
        content, genre = content_digest(path), genre_code(truth["genre"])
        systems = {
            "encoder *": (models, GenerateOptions(genre)),
            "bpm and first beat in words": (wordy, GenerateOptions(genre, rhythm="words")),
            "bpm in words": (wordy, GenerateOptions(genre, f"a @ music with {truth['bpm']:.0f} bpm as the rhythm")),
        }
        for system, (with_models, wanted) in systems.items():
            made = []
            for seed in range(arguments.seeds):
                options = replace(wanted, seed=seed, candidates=arguments.candidates)
                music, takes = compose(rhythm, poses.duration, with_models, options, content, lambda *_: None)
                joins.setdefault(system, []).extend(seams(music, takes))
                mono = music.samples.mean(0)
                heard = {"onsets": onsets(mono, music.sample_rate), "pulse": pulse(mono, music.sample_rate)}
                made.append(scores(heard, beats))
            note(system, made)
            print("  " + system, {key: round(value[-1], 2) for key, value in rows[system].items()}, flush=True)
        period = 60 / truth["bpm"]
        ticks = [np.arange(rng.random() * period, poses.duration, period) for _ in range(200)]
        note("random-phase metronome", [scores({"onsets": tick, "pulse": tick}, beats) for tick in ticks])
    table = {system: {key: interval(values) for key, values in columns.items()} for system, columns in rows.items()}
    for system, columns in table.items():
        line = "  ".join(f"{key} {mean:.3f} [{low:.3f}, {high:.3f}]" for key, (mean, low, high) in columns.items())
        print(f"{system:28} {line}")
    for system, found in joins.items():
        at, behind, slip = np.array(found).T
        print(
            f"{system}: {len(found)} seams, largest level step {np.mean(at):.1f} dB, just behind the overlap "
            f"{np.mean(behind):.1f} dB; beats slip by {np.median(slip) * 1000:.0f} ms in the median, "
            f"within 70 ms in {np.mean(slip <= 0.07):.0%}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
