from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.inversion.constant import Constant
from d2m_cli.inversion.rhythm_encoder import AttnPos, RhythmMLP, RhythmSequence
from d2m_cli.inversion.shape import WordShape


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def test_the_shipped_encoders_still_give_what_their_numbers_say() -> None:
    path = weights_dir() / "embedded" / "encoders.safetensors"
    raw = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    sequence = np.zeros(256)
    sequence[::27] = 1
    x = sequence
    for layer in (0, 2, 4, 6):
        x = raw[f"rhythm.layers.{layer}.weight"] @ x + raw[f"rhythm.layers.{layer}.bias"]
        x = silu(x) if layer < 6 else x
    encoders = Encoders.load(path)
    made = encoders.rhythm(torch.from_numpy(sequence)[None])
    assert made.shape == (1, 1, 1, 160)
    np.testing.assert_allclose(made[0, 0, 0].numpy(), x, atol=1e-4)
    hot = np.eye(10)[6]
    hot = (hot - hot.mean()) / np.sqrt(hot.var() + 1e-5) * raw["genre.layers.0.weight"] + raw["genre.layers.0.bias"]
    y = silu(raw["genre.layers.1.weight"] @ hot + raw["genre.layers.1.bias"])
    y = raw["genre.layers.3.weight"] @ y + raw["genre.layers.3.bias"]
    np.testing.assert_allclose(encoders.genre(["LO"])[0, 0, 0].numpy(), y, atol=1e-4)


def test_parameters_of_the_published_encoder() -> None:
    assert count(AttnPos(303, WordShape(768))) == 4_562_829


@pytest.mark.parametrize("kind", [RhythmMLP, AttnPos, RhythmSequence])
def test_every_layer_and_vector_is_another_one(kind) -> None:
    torch.manual_seed(0)
    network = kind(100, WordShape(24, vectors=3, layers=4)).eval()
    made = network((torch.rand(2, 100) > 0.9).float())
    assert made.shape == (2, 4, 3, 24)
    rows = made[0].reshape(12, 24)
    assert torch.pdist(rows).min() > 1e-3
    assert not torch.allclose(made[0], made[1], atol=1e-4)


def test_one_layer_more_leaves_the_first_vectors_of_the_mlp_where_they_are() -> None:
    network = RhythmMLP(50, WordShape(5, vectors=2, layers=3), hidden=8)
    sequence = (torch.rand(4, 50) > 0.8).float()
    flat = network.layers(sequence)
    assert torch.equal(network(sequence)[2, 1, 1], flat[2, 15:20])


def test_attn_pos_tells_rhythms_apart_by_place_alone() -> None:
    torch.manual_seed(0)
    network = AttnPos(40, WordShape(12)).eval()
    early, late = torch.zeros(2, 1, 40)
    early[0, 5], late[0, 6] = 1, 1
    assert not torch.allclose(network(early), network(late), atol=1e-4)


def hears(network: RhythmSequence, steps: int) -> np.ndarray:
    """(steps, vectors) bool: which vector changes with which step."""
    with torch.no_grad():
        quiet, struck = network(torch.zeros(steps, steps)), network(torch.eye(steps))
    return ((struck - quiet).abs().amax((1, 3)) > 1e-6).numpy()


@pytest.mark.parametrize(("steps", "vectors"), [(256, 8), (303, 8)])
def test_each_vector_of_a_sequence_hears_its_own_stretch(steps: int, vectors: int) -> None:
    torch.manual_seed(0)
    network = RhythmSequence(steps, WordShape(6, vectors), hidden=32)
    heard = hears(network, steps)
    stretch = -(-steps // vectors)
    # Two convolutions of 9 steps look 4 steps further each.
    assert network.reach == 8
    first = np.arange(vectors) * stretch
    step = np.arange(steps)[:, None]
    np.testing.assert_array_equal(heard, (step >= first - 8) & (step < first + stretch + 8))


def test_a_rhythm_one_stretch_later_speaks_one_vector_later() -> None:
    torch.manual_seed(0)
    network = RhythmSequence(256, WordShape(6, 8), hidden=32)
    torch.nn.init.zeros_(network.place)
    sequence = torch.zeros(1, 256)
    sequence[0, [70, 83, 90]] = 1
    made, later = network(sequence), network(sequence.roll(32, 1))
    assert torch.allclose(made[0, 0, 2], later[0, 0, 3], atol=1e-5)
    assert not torch.allclose(made[0, 0, 2], made[0, 0, 3], atol=1e-3)


def test_equal_stretches_are_told_apart_by_their_place() -> None:
    torch.manual_seed(0)
    made = RhythmSequence(256, WordShape(6, 8), hidden=32)(torch.zeros(1, 256))[0, 0]
    assert torch.pdist(made[1:7]).min() > 1e-4


def test_a_constant_does_not_listen() -> None:
    network = Constant(WordShape(6, 2, 3))
    assert count(network) == 36
    made = network(4)
    assert made.shape == (4, 3, 2, 6)
    assert torch.equal(made[0], made[3])
    made[:, 1].sum().backward()
    grad = network.vectors.grad
    assert grad is not None
    assert torch.equal(grad, torch.tensor([0.0, 4.0, 0.0])[:, None, None].expand(3, 2, 6))
