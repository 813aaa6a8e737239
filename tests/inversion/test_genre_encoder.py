from __future__ import annotations

import numpy as np
import torch

from d2m_cli.inversion.genre_encoder import GenreClap, GenreLabel, one_hot
from d2m_cli.inversion.shape import WordShape


def test_parameters_of_the_published_encoder() -> None:
    assert sum(p.numel() for p in GenreLabel(WordShape(768)).parameters()) == 599_060


def test_ten_genres_are_ten_words() -> None:
    torch.manual_seed(0)
    codes = ["BR", "HO", "JB", "JS", "KR", "LH", "LO", "MH", "PO", "WA"]
    made = GenreLabel(WordShape(24, 2, 3))(one_hot(codes))
    assert made.shape == (10, 3, 2, 24)
    assert torch.pdist(made.flatten(1)).min() > 1e-3


def test_clap_layers_worked_by_hand() -> None:
    torch.manual_seed(0)
    network = GenreClap(WordShape(7, 2))
    heard = torch.nn.functional.normalize(torch.randn(3, 512), dim=1)
    state = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}
    x = heard.numpy().astype(np.float64)
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = x * state["layers.0.weight"] + state["layers.0.bias"]
    x = x @ state["layers.1.weight"].T + state["layers.1.bias"]
    x = x / (1 + np.exp(-x))
    x = x @ state["layers.3.weight"].T + state["layers.3.bias"]
    np.testing.assert_allclose(network(heard).detach().numpy(), x.reshape(3, 1, 2, 7), atol=1e-5)
