"""Weights of others: what is read out of a file, and that a damaged one ends in an error that its readers know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from d2m_cli.evaluation.sound.state_dict import UNREADABLE, read_state_dict
from tests.training.test_damaged_inputs import damaged

WEIGHTS = {f"{i}.bias": torch.full((3,), float(i)) for i in range(4)}


def test_what_is_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    torch.save(WEIGHTS, tmp_path / "b.pth")
    torch.save({"epoch": 7, "state_dict": WEIGHTS}, tmp_path / "c.tar")
    for path in sorted(tmp_path.iterdir()):
        state = read_state_dict(path)
        assert {name: tensor.tolist() for name, tensor in state.items()} == {f"{i}.bias": [i] * 3 for i in range(4)}
    torch.save({"epoch": 7}, tmp_path / "d.pth")
    with pytest.raises(ValueError, match="no named tensors"):
        read_state_dict(tmp_path / "d.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=not legacy)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        path.write_bytes(damaged(whole, rng))
        try:
            read_state_dict(path)
        except UNREADABLE:
            refused += 1
    assert refused > 75
