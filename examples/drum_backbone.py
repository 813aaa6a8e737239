"""A family of one's own: a text encoder that is one table of words, and music that is 64 drum hits a window."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from d2m_cli.backbones.base import WINDOW_SECONDS, Condition, Draw, FullSampling, Identity, Sampling, tempo_embedding
from d2m_cli.errors import MissingWeightsError
from d2m_cli.ground.digests import file_sha256
from d2m_cli.inversion.placement import with_all_axes
from d2m_cli.rhythm.sequence import Tempo

WORDS, WIDTH, HITS = 256, 32, 64


class DrumBackbone:
    """Hits of different strength, which the mean of the prompt's words decides."""

    sample_rate, window_seconds, quantum_seconds = 16000, WINDOW_SECONDS, WINDOW_SECONDS / HITS
    text_width, condition_layers, heeds = WIDTH, 1, ("guidance",)
    targets_settings = f"{HITS} hits"

    def __init__(self, folder: Path, identity: Identity, device: str = "cpu", precision: str = "auto") -> None:
        path = folder / "drums.safetensors"
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such file; make it with drum_backbone.save_new(FOLDER)")
        self.name, self.licence, self.speaks_tempo = identity.name, identity.licence, identity.speaks_tempo
        self.description, self.fingerprint = f"{self.name} on {device}", file_sha256(path)
        self.network = nn.ModuleDict({"words": nn.Embedding(WORDS, WIDTH), "hits": nn.Linear(WIDTH, HITS)})
        self.network.load_state_dict(load_file(path))
        self.network.to(device).eval().requires_grad_(False)

    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def ready_for_training(self, precision: str) -> None:
        pass

    def words_vector(self, text: str) -> Tensor:
        numbers = [zlib.crc32(word.encode()) % WORDS for word in text.lower().replace(",", " ").split()]
        return self.network["words"].weight[numbers].mean(0)

    def tempo_vector(self, tempo: Tempo) -> Tensor:
        return tempo_embedding(self.words_vector, tempo, self.speaks_tempo)

    def embed(self, prompts: Sequence[str], pseudo_words: Mapping[str, Tensor]) -> Condition:
        given = {word: with_all_axes(vectors)[:, 0].sum(1) for word, vectors in pseudo_words.items()}
        states = []
        for row, prompt in enumerate(prompts):
            words = prompt.replace(",", " ").split() or ["nothing"]
            vectors = [given[word][row] if word in given else self.words_vector(word) for word in words]
            states.append(torch.stack(vectors).mean(0))
        return Condition(torch.stack(states)[:, None])

    def targets(self, audio: Tensor) -> Tensor:
        length = round(self.window_seconds * self.sample_rate)
        mono = nn.functional.pad(audio.mean(1), (0, length))[:, :length]
        loudness = mono.unflatten(1, (HITS, -1)).square().mean(-1).sqrt()
        return loudness / loudness.amax(1, keepdim=True).clamp(min=1e-6)

    def loss(
        self, targets: Tensor, condition: Condition, generator: object | None = None, focus: float = 0.0
    ) -> Tensor:
        return (self._hits(condition) - targets).square().mean(1)

    def _hits(self, condition: Condition) -> Tensor:
        return self.network["hits"](condition.states[:, 0].to(self.network["hits"].weight.device))

    def generate(
        self,
        condition: Condition,
        negative: Condition,
        seeds: Sequence[int],
        context: Draw | None = None,
        sampling: Sampling | None = None,
    ) -> Draw:
        given, without = self._hits(condition).cpu(), self._hits(negative).cpu()
        strength = (without + FullSampling().filling(sampling).guidance * (given - without)).clamp(0, 1)
        each = round(self.quantum_seconds * self.sample_rate)
        fading = torch.exp(-torch.linspace(0, 8, each))
        noise = [torch.randn(HITS, each, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        audio = (0.2 * strength[..., None] * torch.stack(noise) * fading).flatten(1)[:, None]
        if context is not None:
            audio[..., : context.audio.shape[-1]] = context.audio
        return Draw(audio, self.sample_rate)


def save_new(folder: Path) -> None:
    """Fill a folder with untrained weights."""
    torch.manual_seed(0)
    network = nn.ModuleDict({"words": nn.Embedding(WORDS, WIDTH), "hits": nn.Linear(WIDTH, HITS)})
    save_file(network.state_dict(), folder / "drums.safetensors")
