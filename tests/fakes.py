"""Stand-ins for the networks: they keep the protocols, and what they make can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from d2m_cli.backbones.base import Condition, Draw, Sampling
from d2m_cli.errors import NoPersonError, VideoError
from d2m_cli.pose.track import Poses, PoseTrack
from d2m_cli.rhythm.sequence import RhythmGrid

RATE = 8000


class FakeBackbone:
    """Plays a click at every step of the vector of "*" over quiet noise of its seed, and continues its context."""

    name, licence, description = "fake", "CC0", "fake on cpu"
    sample_rate, window_seconds, quantum_seconds, text_width = RATE, 5.12, 0.08, 256
    condition_layers, heeds, speaks_tempo = 1, ("steps", "guidance"), False
    fingerprint = "f" * 64

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.words: list[dict[str, torch.Tensor]] = []
        self.contexts: list[Draw | None] = []
        self.sampling: list[Sampling | None] = []

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, torch.Tensor]) -> Condition:
        self.prompts += prompts
        self.words.append(dict(pseudo_words))
        return Condition(pseudo_words.get("*", torch.zeros(1, 1, 1, 256))[:, 0])

    def generate(self, condition, negative, seeds, context=None, sampling=None):
        self.contexts.append(context)
        self.sampling.append(sampling)
        length = round(5.12 * RATE)
        rows = [np.random.default_rng(seed).standard_normal((1, length)).astype(np.float32) for seed in seeds]
        noise = np.stack(rows) * np.float32(0.01)
        for step in np.flatnonzero(condition.states[0, 0].numpy() > 0.5):
            at = round(step / 50 * RATE)
            noise[..., at : at + 40] += 0.5
        if context is not None:
            noise[..., : context.audio.shape[-1]] = context.audio.numpy()
        return Draw(torch.from_numpy(noise), RATE)


class FakeEncoders:
    """Hands a rhythm on as it is; "@" is the first letter of its genre, or the mean of its sound."""

    grid = RhythmGrid()
    note = ""

    def __init__(self, genre_kind: str | None = "label") -> None:
        self.genre_kind = genre_kind

    def pseudo_words(
        self, sequences: torch.Tensor, genres: str | Sequence[str] | torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        words = {"*": sequences[:, None, None]}
        if genres is not None:
            value = float(genres.mean()) if isinstance(genres, torch.Tensor) else float(ord(genres[0][0]))
            words["@"] = torch.full((len(sequences), 1, 1, 256), value)
        return words


class FakePoses:
    """A dancer whose joints bob up and down at 120 bpm."""

    model_hashes = {"fake-pose": "a" * 64}  # noqa: RUF012
    description = "fake-pose on CPUExecutionProvider"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def estimate(self, video: Path, report=None, timeline=None) -> Poses:
        content = video.read_bytes()
        if b"nobody" in content:
            raise NoPersonError(f"{video}: nobody was found")
        if b"broken" in content:
            raise VideoError(f"{video}: is not a video")
        times = np.arange(round(self.seconds * 30)) / 30
        keypoints = np.random.default_rng(0).uniform(100, 200, (1, 17, 3)).repeat(len(times), 0)
        keypoints[..., 1] += 20 * np.abs(np.sin(np.pi * 2 * times))[:, None]
        keypoints[..., 2] = 1.0
        track = PoseTrack(keypoints.astype(np.float32), times, (320, 240), 0, "fake-pose")
        return Poses((track,), None, self.seconds)
