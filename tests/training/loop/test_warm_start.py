"""First vectors from plain words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.ground.progress import Progress
from d2m_cli.inversion.checkpoint import EncoderConfig, Encoders
from d2m_cli.rhythm.sequence import Tempo
from d2m_cli.training.data.windows import Windows
from d2m_cli.training.loop import trainer
from d2m_cli.training.loop.processes import make_accelerator
from d2m_cli.training.loop.task import Task
from d2m_cli.training.loop.warm_start import shifted, warm_start
from d2m_cli.training.options import TrainOptions
from tests.training.small import GRID, WIDTH, SmallBackbone, windows

QUIET = Progress(quiet=True)


def pulses(count: int, seed: int) -> Windows:
    """Windows whose peaks lie on the beats of their tempo, four in five of them."""
    rng = np.random.default_rng(seed)
    sequences, tempi = torch.zeros(count, GRID.steps, dtype=torch.uint8), []
    for row in sequences:
        bpm = float(rng.uniform(80, 140))
        first = float(rng.uniform(0, 60 / bpm))
        beats = np.arange(first, 5.1, 60 / bpm)
        kept = beats[rng.random(len(beats)) < 0.8]
        row[torch.from_numpy(np.minimum(np.round(kept * GRID.rate), 255).astype(int))] = 1
        tempi.append(Tempo(bpm, first, 1.0))
    return replace(windows(count, seed), sequences=sequences, tempi=tuple(tempi))


@pytest.mark.slow
def test_encoders_come_to_say_what_words_say_also_of_dances_they_never_saw() -> None:
    encoders = Encoders(EncoderConfig("small", "5" * 64, WIDTH, GRID, hidden=64))
    backbone, others = SmallBackbone(), pulses(100, 2)
    explained, genres = warm_start(encoders, backbone, pulses(800, 1), TrainOptions(warm_updates=600), QUIET)
    assert explained > 0.6
    assert genres > 0.99
    with torch.no_grad():
        # "lock" has four letters: the small backbone's vector of it is 0.4 everywhere.
        assert encoders.genre(["LO"])[0, 0, 0].tolist() == pytest.approx([0.4] * WIDTH, abs=0.02)
        got = encoders.rhythm(others.sequences.float())[:, 0, 0]
    wanted = torch.stack([backbone.tempo_vector(tempo) for tempo in others.tempi or () if tempo is not None])
    assert float(((got - wanted) ** 2).sum(1).mean()) < 0.4 * float(wanted.var(0).sum())


@pytest.mark.slow
def test_only_the_first_of_several_vectors_is_given_words_and_every_layer_is() -> None:
    made = pulses(100, 1)
    config = EncoderConfig("small", "5" * 64, WIDTH, GRID, hidden=64, rhythm_vectors=2, layers=3)
    encoders = Encoders(config)
    with torch.no_grad():
        before = encoders.genre(["HO"]).clone()
    warm_start(encoders, SmallBackbone(), made, TrainOptions(warm_updates=300), QUIET)
    with torch.no_grad():
        after = encoders.genre(["HO"])
    assert before.shape == (1, 3, 1, WIDTH)
    assert torch.allclose(after, torch.full((1, 3, 1, WIDTH), 0.5), atol=0.05)


def test_music_without_a_tempo_teaches_nothing() -> None:
    made = replace(windows(50, 1), tempi=(None,) * 50, genres=None)
    encoders = Encoders(EncoderConfig("small", "5" * 64, WIDTH, GRID, hidden=64, genre=None))
    before = {name: value.clone() for name, value in encoders.state_dict().items()}
    explained, genres = warm_start(encoders, SmallBackbone(), made, TrainOptions(warm_updates=10), QUIET)
    assert np.isnan(explained)
    assert np.isnan(genres)
    assert all(torch.equal(before[name], value) for name, value in encoders.state_dict().items())


def test_rows_are_moved_each_by_its_own_steps() -> None:
    rows = torch.tensor([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]], dtype=torch.uint8)
    out = shifted(rows, np.array([1, -1, 0]))
    assert out.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0]]


def test_a_training_learns_them_on_its_own_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the device "meta" have no values: the first loss that is read ends it, after nine updates without."""
    seen: list[tuple[torch.device, torch.device, torch.device]] = []

    def watched(encoders: Encoders, *rest: Any) -> Any:
        def note(_network: Any, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
            seen.append((encoders.device, given[0].device, made.device))

        encoders.rhythm_network.register_forward_hook(note)
        return warm_start(encoders, *rest)

    monkeypatch.setattr(trainer, "warm_start", watched)
    elsewhere: Any = SimpleNamespace(device=torch.device("meta"), num_processes=1, is_main_process=True)
    with pytest.raises(RuntimeError, match="meta"):
        trainer.train(_task(), tmp_path, elsewhere, QUIET)
    assert seen == [(elsewhere.device,) * 3] * 10


def test_on_a_cpu_a_training_begins_where_they_end(tmp_path: Path) -> None:
    task = _task()
    begun = trainer._Run(
        task, tmp_path, make_accelerator(task.options, "cpu"), QUIET, 300.0, None
    ).encoders.state_dict()
    torch.manual_seed(task.options.seed)
    wanted = Encoders(task.config).train()
    warm_start(wanted, SmallBackbone(), task.training, task.options, QUIET)
    assert all(torch.equal(begun[name], value) for name, value in wanted.state_dict().items())


def _task() -> Task:
    options = TrainOptions(epochs=1, batch_size=16, warm_updates=10, samples=0)
    return Task(SmallBackbone(), EncoderConfig("small", "5" * 64, WIDTH, GRID, hidden=64), pulses(32, 1), None, options)
