"""A made-up paired set on disk: clicks at a tempo, and a dancer who bobs to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from d2m_cli.media.audio import save_wav
from d2m_cli.pose.io import save_poses
from d2m_cli.pose.track import Poses, PoseTrack

RATE = 8000


def click_track(bpm: float, first: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """(1, n) decaying 1 kHz clicks on every beat."""
    samples = np.zeros(round(seconds * rate), np.float32)
    tone = np.sin(2 * np.pi * 1000 * np.arange(400) / rate) * np.exp(-np.arange(400) / 80)
    for beat in np.arange(first, seconds, 60 / bpm):
        at = round(beat * rate)
        samples[at : at + 400] += tone[: len(samples) - at] * 0.6
    return samples[None].astype(np.float32)


def bobbing(bpm: float, first: float, seconds: float, fps: float = 30.0) -> Poses:
    """A dancer whose joints fall onto every beat and bounce off it."""
    times = np.arange(round(seconds * fps)) / fps
    phase = ((times - first) * bpm / 60) % 1.0
    keypoints = np.random.default_rng(0).uniform(100, 200, (1, 17, 3)).repeat(len(times), 0)
    keypoints[..., 1] -= 60 * (4 * phase * (1 - phase))[:, None]
    keypoints[..., 2] = 1.0
    return Poses((PoseTrack(keypoints.astype(np.float32), times, (320, 320), 0, "made up"),), None, seconds)


def make_set(folder: Path, songs: int = 8, seconds: float = 10.3) -> Path:
    """Write songs, dances and a manifest; six parts in eight for training, one each for validation and test."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["video,audio,genre,start,song,split"]
    for number in range(songs):
        bpm, first = 80 + 8 * number, 0.1 + 0.03 * number
        save_wav(folder / f"song{number}.wav", click_track(bpm, first, seconds + 0.5), RATE)
        save_poses(folder / f"dance{number}.pose.npz", bobbing(bpm, first - 0.25, seconds))
        split = {6: "validation", 7: "test"}.get(number % 8, "train")
        genre = ("LO", "HO")[number % 2]
        lines.append(f"dance{number}.pose.npz,song{number}.wav,{genre},0.25,song{number},{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"
