"""A backbone small enough to be worked by hand, and windows that it can learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from d2m_cli.backbones.base import Condition, Draw
from d2m_cli.rhythm.sequence import RhythmGrid
from d2m_cli.training.data.dataset import Clip, Segment
from d2m_cli.training.data.windows import Windows

GRID = RhythmGrid("stable", 50.0, 256)
WIDTH = 8


class SmallBackbone:
    """Music is a vector of 4 numbers; the text of a window is the sum of its pseudo-words; a frozen matrix joins them.

    The loss is the squared distance of `matrix @ text` from the target with noise on it, so that the smallest loss, and
    its gradient, can be told by hand.
    """

    name, licence, description = "small", "CC0", "small on cpu"
    sample_rate, window_seconds, quantum_seconds, text_width = 8000, 5.12, 0.08, WIDTH
    condition_layers, heeds = 1, ()
    speaks_tempo = False
    fingerprint, targets_settings = "5" * 64, "none"

    def __init__(self) -> None:
        torch.manual_seed(7)
        self.network = nn.Linear(WIDTH, 4, bias=False).requires_grad_(False)
        self.prompts: list[str] = []
        self.spoil_after: int | None = None
        self.steps = 0

    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def ready_for_training(self, precision: str) -> None:
        pass

    def words_vector(self, text: str) -> Tensor:
        return torch.full((WIDTH,), float(len(text)) / 10)

    def tempo_vector(self, tempo) -> Tensor:
        turn = 2 * np.pi * tempo.first_beat * tempo.bpm / 60
        return torch.tensor([tempo.bpm / 60, np.cos(turn), np.sin(turn), *[0.0] * (WIDTH - 3)], dtype=torch.float32)

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        self.prompts += prompts
        rows = []
        for row, prompt in enumerate(prompts):
            parts = [vectors[row].sum((0, 1)) for word, vectors in pseudo_words.items() if word in prompt]
            rows.append(torch.stack(parts).sum(0))
        return Condition(torch.stack(rows)[:, None])

    def targets(self, audio: Tensor) -> Tensor:
        return torch.stack([audio[:, 0, i * 1000 : i * 1000 + 1000].square().mean(-1) for i in range(4)], 1)

    def loss(self, targets, condition, generator=None, focus=0.0):
        self.steps += 1
        if self.spoil_after is not None and self.steps > self.spoil_after:
            return self.network(condition.states[:, 0].float()).mean(1) * float("nan")
        noise = 0.1 * torch.randn(targets.shape, generator=generator)
        return (self.network(condition.states[:, 0].float()) - targets - noise).square().mean(1)

    def generate(self, condition, negative, seeds, context=None, sampling=None):
        return Draw(torch.full((len(seeds), 1, round(5.12 * 8000)), 0.25), 8000)


def windows(count: int, seed: int, songs: int = 6) -> Windows:
    """Windows whose target follows from their rhythm (its peaks in each quarter) and, less, from their genre."""
    rng = np.random.default_rng(seed)
    sequences = (rng.random((count, GRID.steps)) < 0.06).astype(np.uint8)
    genres = [("LO", "HO", "BR")[i % 3] for i in range(count)]
    quarters = sequences.reshape(count, 4, -1).sum(2) / 6.0 - 0.6
    shift = np.array([{"LO": 0.5, "HO": 0.0, "BR": -0.5}[genre] for genre in genres])
    targets = torch.from_numpy((quarters + shift[:, None]).astype(np.float16))
    segments = tuple(
        Segment(
            Clip(f"clip{i}", Path("x.mp4"), None, Path("x.wav"), 0.0, f"song{i % songs}", genres[i], "train", 5.12), 0.0
        )
        for i in range(count)
    )
    return Windows(segments, torch.from_numpy(sequences), tuple(genres), targets)
