"""A made-up AIST++ tree: its file names, layout and number formats, with a bobbing dancer and clicks in noise."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from d2m_cli.ground.aist import parse_name

RATE = 4000

SEQUENCES: dict[str, int] = {
    "gLO_sBM_cAll_d13_mLO0_ch03": 305,
    "gLO_sBM_cAll_d14_mLO1_ch05": 577,
    "gKR_sFM_cAll_d28_mKR0_ch01": 1229,
    "gLO_sBM_cAll_d13_mLO2_ch01": 577,
    "gLO_sBM_cAll_d13_mLO2_ch02": 577,
    "gKR_sBM_cAll_d30_mKR2_ch02": 307,
}
"""Frames at 60 fps: by the official rule three sequences to train on, one to validate with, two to test with."""

SPLITS: dict[str, tuple[str, ...]] = {
    "crossmodal_train.txt": tuple(SEQUENCES)[:3],
    "crossmodal_val.txt": tuple(SEQUENCES)[3:4],
    "crossmodal_test.txt": tuple(SEQUENCES)[4:],
}


@cache
def _rows(frames: int, bpm: float, views: int) -> np.ndarray:
    times = np.arange(frames) / 60
    rows = np.random.default_rng(0).uniform(300, 500, (views, 1, 17, 3)).repeat(frames, axis=1)
    rows[..., 0] = rows[:1, :, :, 0] + 100 * np.arange(views)[:, None, None]
    rows[..., 1] += 40 * np.abs(np.sin(np.pi * times * bpm / 60))[None, :, None]
    rows[..., 2] = 0.9
    return rows.astype(np.float32)


def keypoints(frames: int, bpm: float = 100.0, views: int = 9) -> dict[str, np.ndarray]:
    """What a file of ``keypoints2d`` holds; each camera sees the dancer 100 pixels further to the right."""
    return {
        "keypoints2d": _rows(frames, bpm, views).copy(),
        "det_scores": np.full((views, frames), 0.95, np.float32),
        "timestamps": (np.arange(frames) * 1_000_000 // 60).astype(np.int64),
    }


def save_keypoints(path: Path, content: Mapping[str, np.ndarray], protocol: int = 4) -> Path:
    """Write a .pkl, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(dict(content), protocol=protocol))
    return path


@cache
def music(seconds: float, bpm: float = 100.0, rate: int = RATE) -> np.ndarray:
    """(1, n) quiet noise with a click on every beat from 0."""
    samples = np.random.default_rng(1).standard_normal(round(seconds * rate)).astype(np.float32) * 0.02
    for beat in np.arange(0.0, seconds, 60 / bpm):
        samples[round(beat * rate) : round(beat * rate) + 20] += 0.5
    return samples[None]


def make_tree(
    root: Path,
    sequences: Mapping[str, int] = SEQUENCES,
    splits: Mapping[str, Sequence[str]] | None = SPLITS,
    ignored: Sequence[str] | None = (),
    music_seconds: float | None = 25.0,
) -> Path:
    """Write a tree as it is downloaded, with one .wav for each song.

    Parameters
    ----------
    root
        Its folder.
    sequences
        Name and number of frames.
    splits
        Lines of each split file; None writes no ``splits``.
    ignored
        Lines of ``ignore_list.txt``; None writes none.
    music_seconds
        Length of each song; None writes no music.
    """
    for name, frames in sequences.items():
        save_keypoints(root / "keypoints2d" / f"{name}.pkl", keypoints(frames))
        parts = parse_name(name)
        song = root / "music" / f"{parts.song}.wav" if parts else None
        if song is not None and music_seconds is not None and not song.exists():
            song.parent.mkdir(exist_ok=True)
            soundfile.write(song, music(music_seconds)[0], RATE)
    if splits is not None:
        (root / "splits").mkdir(parents=True)
        for file, names in splits.items():
            (root / "splits" / file).write_text("\n".join(names) + "\n", encoding="utf-8")
    if ignored is not None:
        (root / "ignore_list.txt").write_text("".join(f"{name} \n" for name in ignored) + "\n", encoding="utf-8")
    return root
