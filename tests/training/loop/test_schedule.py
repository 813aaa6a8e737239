"""What belongs to one update follows from its number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from d2m_cli.training.loop.schedule import Chance, learning_rate, perturbed, updates_per_epoch, windows_of
from d2m_cli.training.options import PRESETS, TrainOptions


def test_every_epoch_goes_once_through_all_windows_in_another_order() -> None:
    options = TrainOptions(batch_size=2, accumulate=2, seed=5)
    each = updates_per_epoch(24, options, processes=3)
    assert each == 2
    epochs = [np.concatenate([windows_of(e * each + u, 24, options, 3).ravel() for u in range(each)]) for e in (0, 1)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(24))
    assert list(epochs[0]) != list(epochs[1])
    assert windows_of(0, 24, options, 3).shape == (3, 2, 2)


def test_fewer_windows_than_a_batch_come_again() -> None:
    chosen = windows_of(0, 3, TrainOptions(batch_size=8))
    assert chosen.shape == (1, 1, 8)
    assert set(chosen.ravel()) == {0, 1, 2}


def test_learning_rate_by_hand() -> None:
    options = TrainOptions(learning_rate=0.4, warmup=4, schedule="cosine")
    # Rises 0.1, 0.2, 0.3, 0.4; then a cosine over the 8 updates left: 1 at its start, 1/2 in its middle.
    rates = [learning_rate(update, 12, options) for update in range(13)]
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[8] == pytest.approx(0.2)
    assert rates[12] == pytest.approx(0.0)
    constant = TrainOptions(learning_rate=0.4, warmup=4)
    assert [learning_rate(update, 12, constant) for update in (0, 4, 11)] == pytest.approx([0.1, 0.4, 0.4])


def test_the_same_update_draws_the_same_numbers_and_no_other_does() -> None:
    def draw(*where: int) -> tuple[float, float, float]:
        chance = Chance(*where)
        return float(torch.rand(1, generator=chance.noise)), float(chance.numpy.random()), float(torch.rand(1))

    assert draw(1, 7, 0, 0) == draw(1, 7, 0, 0)
    others = [draw(1, 8, 0, 0), draw(2, 7, 0, 0), draw(1, 7, 1, 0), draw(1, 7, 0, 1)]
    for other in others:
        assert all(a != b for a, b in zip(draw(1, 7, 0, 0), other, strict=True))


def test_peaks_are_dropped_and_moved_as_often_and_as_far_as_asked() -> None:
    sequences = torch.zeros(400, 256, dtype=torch.uint8)
    sequences[:, 128] = 1
    out = perturbed(sequences, Chance(0, 0), drop=0.25, jitter=0.04, rate=50.0)
    rows, steps = np.nonzero(out.numpy())
    # 0.04 s are two steps; a binomial share of 400 has a standard error of 0.022.
    assert len(rows) / 400 == pytest.approx(0.75, abs=0.07)
    assert np.std(steps) == pytest.approx(2.0, abs=0.3)
    assert np.mean(steps) == pytest.approx(128, abs=0.4)
    assert torch.equal(perturbed(sequences, Chance(0, 0), 0.0, 0.0, 50.0), sequences.float())


def test_a_peak_moved_over_the_edge_is_gone() -> None:
    sequences = torch.zeros(200, 256, dtype=torch.uint8)
    sequences[:, 255] = 1
    out = perturbed(sequences, Chance(0, 0), drop=0.0, jitter=0.1, rate=50.0)
    # Half of all moves are to the right, of which all but those that round to 0 leave the window.
    assert out.sum().item() == pytest.approx(108, abs=25)


def test_presets_hold_what_the_paper_says() -> None:
    riffusion = PRESETS["paper-riffusion"]
    assert (riffusion.learning_rate, riffusion.batch_size, riffusion.epochs) == (5e-4, 1, 50)
    musicgen = PRESETS["paper-musicgen"]
    assert (musicgen.learning_rate, musicgen.batch_size, musicgen.epochs, musicgen.warmup) == (1e-4, 1, 20, 6000)
    assert (musicgen.beta1, musicgen.beta2, musicgen.weight_decay, musicgen.clip) == (0.9, 0.95, 0.01, 1.0)
    assert (PRESETS["published-musicgen"].warmup, PRESETS["published-musicgen"].schedule) == (3000, "cosine")
