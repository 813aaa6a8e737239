"""Sets of embeddings and sounds for the tests of distances, embedders and classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from d2m_cli.evaluation.sound.embedding import EmbeddingSet


def frames_as_set(frames: np.ndarray, embedding: str = "test", clips: int = 2) -> EmbeddingSet:
    """(n, width) frames as those of several clips."""
    counts: Sequence[int] = [len(part) for part in np.array_split(frames, clips)]
    return EmbeddingSet(embedding, np.asarray(frames, float), tuple(f"clip {i}" for i in range(clips)), tuple(counts))


def tone(seconds: float, rate: int, frequency: float = 440.0, amplitude: float = 0.3) -> np.ndarray:
    """(n,) sine."""
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int, seed: int = 0, amplitude: float = 0.1) -> np.ndarray:
    """(n,) white noise."""
    return (amplitude * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)
